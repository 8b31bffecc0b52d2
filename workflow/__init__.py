"""The workflow of a batch: the state machine, its trigger, its executions, and the command line."""
