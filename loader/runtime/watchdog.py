"""Ends this process when it stands still, so that Batch tries the task again long before its time is over.

Each thread that works says so by `alive`, whenever bytes were read, rows were copied or a statement is done. When
one has not for as long as its task may be silent, every thread's stack goes to standard error, and the process
exits with 1. A thread in C does that (`faulthandler.dump_traceback_later`): it needs no lock of the interpreter,
so that native code which holds that lock is ended, too.
"""

import contextlib
import faulthandler
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

EXIT_CODE = 1
"""What faulthandler exits with; the job definitions retry it."""
# By so much earlier than this process gives up does the server, which can say what it was at.
GRACE_SECONDS = 30
# Each time that the alarm is set costs a thread: it is set no more often than that.
STEP_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """How long a task may show no progress, and how long the server may work on one statement, in seconds.

    `session` is the same for sessions that COPY: one COPY lasts as long as the file, and is watched by its blocks.
    """

    silence: int
    statement: int
    session: int = 0

    @property
    def options(self) -> str:
        """The settings of the session, as libpq's options."""
        statement, idle = self.session or self.statement, self.statement
        return f"-c statement_timeout={statement}s -c idle_in_transaction_session_timeout={idle}s"


# The limits of a session that belongs to no task. Waits for locks are statements: those have limits of their own,
# which are shorter (loader/runtime/connection.py).
OTHER = Limits(300, 900)

_limits: Limits | None = None  # None in processes that nothing watches, such as tests
_lock = threading.RLock()
_due: dict[int, float] = {}
_set_for = 0.0


def start(limits: Limits) -> None:
    """Watch this process, which runs a task, from now on; this thread must be alive, and those that join."""
    global _limits
    _limits = limits
    _expect(limits.silence)


def limits() -> Limits:
    """Return the limits of the task that this process runs, OTHER when it is not watched."""
    return _limits or OTHER


def alive() -> None:
    """Say that this thread made progress."""
    if _limits is not None and threading.get_ident() in _due:
        _expect(_limits.silence)


@contextlib.contextmanager
def statement() -> Iterator[None]:
    """Give this thread the time that a statement may take."""
    if _limits is None or threading.get_ident() not in _due:
        yield
        return
    _expect(_limits.statement + GRACE_SECONDS)
    try:
        yield
    finally:
        _expect(_limits.silence)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Watch this thread, too, for as long as this lasts."""
    if _limits is not None:
        _expect(_limits.silence)
    try:
        yield
    finally:
        _forget()


@contextlib.contextmanager
def excused() -> Iterator[None]:
    """Expect nothing of this thread, which waits for another that is watched."""
    _forget()
    try:
        yield
    finally:
        if _limits is not None:
            _expect(_limits.silence)


def _expect(seconds: float) -> None:
    with _lock:
        _due[threading.get_ident()] = time.monotonic() + seconds
        _set()


def _forget() -> None:
    with _lock:
        if _due.pop(threading.get_ident(), None):
            _set()


def _set() -> None:
    """Set the alarm for the thread whose time is over first."""
    global _set_for
    if not _due:
        faulthandler.cancel_dump_traceback_later()
        _set_for = 0.0
        return
    first = min(_due.values())
    if not 0 <= first - _set_for < STEP_SECONDS:
        _set_for = first
        seconds = max(first - time.monotonic(), 0) + STEP_SECONDS
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
