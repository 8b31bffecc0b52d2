"""The errors of a task, and their exit codes, by which AWS Batch retries or ends the job."""


class TaskError(Exception):
    """A task cannot do its work. The message names the cause, the place, and what to do."""

    exit_code = 70


class UsageError(TaskError):
    """The arguments or the environment are wrong; a retry cannot help."""

    exit_code = 64


class ClosedError(TaskError):
    """The batch was closed, or its object is gone, changed or archived; the task must not continue."""

    exit_code = 65


class TransientError(TaskError):
    """A transient failure: a retry of the same task may succeed."""

    exit_code = 75
