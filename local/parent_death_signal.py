"""Ends a process when its parent ends (Linux only; elsewhere this does nothing)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec, loading a library could deadlock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(signum: signal.Signals, parent_pid: int) -> None:
    """Ask the kernel to send this process `signum` when the thread that started it ends.

    The kernel watches the *thread*, not its process: start the child from a thread that outlives it.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum))
    if os.getppid() != parent_pid:  # the parent died before the call
        os.kill(os.getpid(), signum)
