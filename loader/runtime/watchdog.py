"""Ends this process when it hangs, so that Batch retries the task long before its timeout.

Each watched thread calls `alive` after every block read, rows copied or statement. If one does not for as long as the
limits of the task allow, the stacks of all threads go to standard error, and the process exits with 1. A thread in C
does this (`faulthandler.dump_traceback_later`): it does not need the GIL, so it also works while native code holds it.
"""

import contextlib
import faulthandler
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

EXIT_CODE = 1
"""The exit code of faulthandler; the job definitions retry it."""
# The server's statement timeout is this much earlier than the watchdog, since its error names the statement.
GRACE_SECONDS = 30
# The least time between two settings of the alarm, each of which starts a thread.
STEP_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """The longest time without progress (`silence`) and of one statement, in seconds.

    `session`, if not 0, replaces `statement` as the server's statement timeout, for tasks that COPY: one COPY takes as
    long as the whole file, and each of its blocks counts as progress.
    """

    silence: int
    statement: int
    session: int = 0

    @property
    def options(self) -> str:
        """The settings of the session, as libpq's options."""
        statement, idle = self.session or self.statement, self.statement
        return f"-c statement_timeout={statement}s -c idle_in_transaction_session_timeout={idle}s"


# The limits of a session outside a task. Waits for locks have shorter limits (loader/runtime/connection.py).
DEFAULT_LIMITS = Limits(300, 900)

_limits: Limits | None = None  # None in processes that are not watched, such as tests
_lock = threading.RLock()
_deadlines: dict[int, float] = {}
_alarm_at = 0.0


def start(limits: Limits) -> None:
    """Start to watch this process: this thread, and those inside `watched`."""
    global _limits
    _limits = limits
    _set_deadline(limits.silence)


def limits() -> Limits:
    """Return the limits of the task that this process runs, DEFAULT_LIMITS if it is not watched."""
    return _limits or DEFAULT_LIMITS


def alive() -> None:
    """Record that this thread made progress."""
    if _limits is not None and threading.get_ident() in _deadlines:
        _set_deadline(_limits.silence)


@contextlib.contextmanager
def statement() -> Iterator[None]:
    """Allow this thread the time of one statement."""
    if _limits is None or threading.get_ident() not in _deadlines:
        yield
        return
    _set_deadline(_limits.statement + GRACE_SECONDS)
    try:
        yield
    finally:
        _set_deadline(_limits.silence)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Watch this thread as well, inside this context."""
    if _limits is not None:
        _set_deadline(_limits.silence)
    try:
        yield
    finally:
        _stop_watching()


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Do not watch this thread inside this context, while it waits for another watched thread."""
    _stop_watching()
    try:
        yield
    finally:
        if _limits is not None:
            _set_deadline(_limits.silence)


def _set_deadline(seconds: float) -> None:
    with _lock:
        _deadlines[threading.get_ident()] = time.monotonic() + seconds
        _set_alarm()


def _stop_watching() -> None:
    with _lock:
        if _deadlines.pop(threading.get_ident(), None):
            _set_alarm()


def _set_alarm() -> None:
    """Set the alarm for the thread with the earliest deadline."""
    global _alarm_at
    if not _deadlines:
        faulthandler.cancel_dump_traceback_later()
        _alarm_at = 0.0
        return
    first = min(_deadlines.values())
    if not 0 <= first - _alarm_at < STEP_SECONDS:
        _alarm_at = first
        seconds = max(first - time.monotonic(), 0) + STEP_SECONDS
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
