"""The rates API compared with the alternatives."""
