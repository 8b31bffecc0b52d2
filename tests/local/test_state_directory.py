"""The lock of a stack's directory: one stack at a time, whoever looks at it meanwhile."""

import threading
from pathlib import Path

from ratesflow.local.state_directory import StateDirectory


def test_stack_gets_its_lock_while_others_look(tmp_path: Path) -> None:
    """A stack locks its directory while other processes ask all the time whether one is running."""
    state, over = StateDirectory(tmp_path), threading.Event()
    state.prepare()
    state.pid_file.touch()

    def look() -> None:
        while not over.is_set():
            state.pid()

    pollers = [threading.Thread(target=look) for _ in range(3)]
    for poller in pollers:
        poller.start()
    try:
        for _ in range(300):
            lock = state.lock()
            assert lock is not None
            lock.close()
    finally:
        over.set()
        for poller in pollers:
            poller.join()


def test_second_stack_gets_no_lock(tmp_path: Path) -> None:
    """While a stack holds the lock, another one does not get it, and the first is named."""
    state = StateDirectory(tmp_path)
    lock = state.lock()
    assert lock is not None
    assert state.lock() is None
    assert state.pid() is not None
    lock.close()
    assert state.pid() is None
