"""Commands for executions: list, show, start, stop, draw."""
