"""Signals to processes, now and after a delay."""

import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.faults.campaign.chaos_stack import ChaosStack

Fault = Callable[[ChaosStack, random.Random], bool]
"""Injects a fault into a stack; returns whether it found a target."""


def run_later(seconds: float, do: Callable[[], object]) -> None:
    """Call a function after a delay, in a separate thread."""
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def send_signal(process: psutil.Process | None, number: signal.Signals) -> bool:
    """Send a signal to a process; return whether it exists."""
    with suppress(psutil.Error):
        if process is not None:
            process.send_signal(number)
            return True
    return False


def resume(pid: int) -> None:
    """Resume a process if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
