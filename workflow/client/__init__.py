"""The operator's client of a stack, embedded or on AWS: executions, tasks, uploads, logs, rates."""
