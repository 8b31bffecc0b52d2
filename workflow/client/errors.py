"""The errors that the client raises. The text of each is a sentence that a person can act on.

RatesflowError
├── UnavailableError               there is no stack, or it does not respond
│   ├── EnvironmentMissingError    no environment was found, or one without some address
│   └── ApiUnavailableError        the API does not respond
├── StillRunningError              an execution or a job has not ended in time; it continues
├── ApiError                       the API rejected a request
├── ExecutionMissingError          no execution has this name
├── NotStartedError                an execution cannot be started
├── TaskFailedError                a task failed, or wrote no result
└── StackError                     the embedded stack cannot start or stop (`local.processes`)
"""


class RatesflowError(Exception):
    """The base of all errors. `exit_code` is what the command line exits with."""

    exit_code = 1


class UnavailableError(RatesflowError):
    """There is no stack, or it does not respond."""

    exit_code = 69  # EX_UNAVAILABLE


class EnvironmentMissingError(UnavailableError):
    """No environment was found, or one without some address."""


class ApiUnavailableError(UnavailableError):
    """The API does not respond."""


class StillRunningError(RatesflowError, TimeoutError):
    """An execution or a job has not ended in time; it continues. The text names the command that shows it."""

    exit_code = 75  # EX_TEMPFAIL


class ApiError(RatesflowError):
    """The API rejected a request; the text is its reason."""


class ExecutionMissingError(RatesflowError):
    """No execution has this name; the text has the name and where it was looked up."""


class NotStartedError(RatesflowError):
    """An execution cannot be started; the text has the reason and what to do."""


class TaskFailedError(RatesflowError):
    """A task failed, or wrote no result; the text has the reason and the last lines of its log."""
