"""Commands for batches: make, check, load, list, undo, and query their rates."""
