"""What strikes have in common: they hit something now, and let it go after a while."""

import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.faults.campaign.chaos_stack import Field

Strike = Callable[[Field, random.Random], bool]
"""Does something to a stack, and tells whether there was something to hit."""


def later(seconds: float, do: Callable[[], object]) -> None:
    """Do something after a while, in a thread of its own."""
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def hit(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Send a signal to a process, if there is one; tell whether there was."""
    with suppress(psutil.Error):
        if process is not None:
            process.send_signal(number)
            return True
    return False


def resume(pid: int) -> None:
    """Let a process go on, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
