"""The tasks that load batches and maintain the database.

Each task is a plain function, independent of Step Functions and Batch; `python -m ratesflow.loader TASK` turns
arguments and environment variables into a call.
"""
