"""The tasks of a batch and of upkeep, one module each."""
