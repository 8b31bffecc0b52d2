"""What happens to a batch and in what order: the state machine, its trigger, its executions, the command line."""
