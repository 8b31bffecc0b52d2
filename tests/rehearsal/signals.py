"""Ctrl-C and SIGTERM: the first one interrupts the rehearsal, which then cleans up; the second one ends that too."""

import signal
from typing import Any


class InterruptedRehearsal(KeyboardInterrupt):
    """The first signal; its text is the signal's name."""


class LeftRehearsal(BaseException):
    """A signal during the clean-up: say what is left, and leave."""


_seen = 0


def listen() -> None:
    """Raise one of the above in the main thread at a signal."""
    global _seen
    _seen = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _heard)


def _heard(number: int, _frame: Any) -> None:
    global _seen
    _seen += 1
    name = signal.Signals(number).name
    raise InterruptedRehearsal(name) if _seen == 1 else LeftRehearsal(name)


def expect_the_last() -> None:
    """Take the next signal as one during the clean-up."""
    global _seen
    _seen = max(_seen, 1)
