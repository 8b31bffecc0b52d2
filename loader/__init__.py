"""The tasks that load batches and maintain the database.

Each is a plain function that knows nothing of Step Functions or Batch; `python -m ratesflow.loader TASK` turns
arguments and environment into a call of it.
"""
