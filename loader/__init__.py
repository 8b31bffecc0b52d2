"""What each task of a batch does: validate, load, commit, discard.

Each is a plain function that knows nothing of Step Functions or Batch; `python -m ratesflow.loader TASK` is the thin
entry that turns arguments and environment into that call.
"""
