"""Reads during commits, compactions and changes of the tree."""
