"""Ctrl-C and SIGTERM: the first interrupts the rehearsal, which then cleans up; the second aborts the clean-up."""

import signal
from typing import Any


class InterruptedRehearsal(KeyboardInterrupt):
    """The first signal; the message is its name."""


class AbortedRehearsal(BaseException):
    """A signal during the clean-up: print what remains, and exit."""


_seen = 0
_holding = False
_late: list[int] = []


def listen() -> None:
    """Raise one of these exceptions in the main thread at a signal."""
    global _seen, _holding
    _seen, _holding = 0, False
    _late.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


def hold() -> None:
    """Defer signals until `release`, so that a process that is being started is not lost."""
    global _holding
    _holding = True


def release() -> None:
    """Raise the exception of a deferred signal, if any."""
    global _holding
    _holding = False
    if _late:
        number = _late[0]
        _late.clear()
        _on_signal(number, None)


def _on_signal(number: int, _frame: Any) -> None:
    global _seen
    if _holding:
        _late.append(number)
        return
    _seen += 1
    name = signal.Signals(number).name
    raise InterruptedRehearsal(name) if _seen == 1 else AbortedRehearsal(name)


def start_clean_up() -> None:
    """Treat the next signal as one during the clean-up."""
    global _seen
    _seen = max(_seen, 1)
