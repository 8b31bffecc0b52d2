"""Makes a process die with the one that started it (Linux; elsewhere it can't be asked for)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: between fork and exec, loading a library could wait for a lock for ever.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(signum: signal.Signals, parent_pid: int) -> None:
    """Asks the kernel to send this process `signum` when the thread that started it ends.

    It is the *thread* that counts, not its process: start the child from a thread that stays.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum))
    if os.getppid() != parent_pid:  # the parent died before it could be asked
        os.kill(os.getpid(), signum)
