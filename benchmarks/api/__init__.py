"""The rates API beside its alternatives."""
