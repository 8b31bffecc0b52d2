"""How a task can fail, and the exit code that tells AWS Batch whether to try again."""


class TaskError(Exception):
    """A task that cannot do its work. Says what was wrong, where, and what to do."""

    exit_code = 70


class UsageError(TaskError):
    """The arguments or the environment are wrong; trying again will not help."""

    exit_code = 64


class ClosedError(TaskError):
    """The batch was closed, or its object is gone, changed or archived; this task must not go on."""

    exit_code = 65


class TransientError(TaskError):
    """Something that passes: the same task may succeed when it is tried again."""

    exit_code = 75
