"""What an operator does with a stack, here or on AWS: executions, tasks, uploads, logs."""
