"""The embedded stack: the same state machine, tasks and API on a laptop, with no account, Docker or network."""
