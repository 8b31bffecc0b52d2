"""Ctrl-C and SIGTERM: the first one interrupts the rehearsal, which then cleans up; the second one ends that too."""

import signal
from typing import Any


class InterruptedRehearsal(KeyboardInterrupt):
    """The first signal; its text is the signal's name."""


class LeftRehearsal(BaseException):
    """A signal during the clean-up: say what is left, and leave."""


_seen = 0
_holding = False
_late: list[int] = []


def listen() -> None:
    """Raise one of the above in the main thread at a signal."""
    global _seen, _holding
    _seen, _holding = 0, False
    _late.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _heard)


def hold() -> None:
    """Keep signals until `release`: a process that is being started would be forgotten, and would run on alone."""
    global _holding
    _holding = True


def release() -> None:
    """Raise what was held back, if anything was."""
    global _holding
    _holding = False
    if _late:
        number = _late[0]
        _late.clear()
        _heard(number, None)


def _heard(number: int, _frame: Any) -> None:
    global _seen
    if _holding:
        _late.append(number)
        return
    _seen += 1
    name = signal.Signals(number).name
    raise InterruptedRehearsal(name) if _seen == 1 else LeftRehearsal(name)


def expect_the_last() -> None:
    """Take the next signal as one during the clean-up."""
    global _seen
    _seen = max(_seen, 1)
