"""Lets a test kill or stop a task between any two statements, to test that each transaction is all-or-nothing.

`RATESFLOW_FAULT_INJECTION=die:7` kills the process with SIGKILL at the seventh point; `wait:7` stops it there with
SIGSTOP. There is a point before and after each statement, and so before and after each commit. Only tests set this
variable; without it nothing is counted.
"""

import os
import signal
from typing import Any

from ratesflow.loader.runtime.session import WatchedCursor

VARIABLE = "RATESFLOW_FAULT_INJECTION"
_SIGNALS = {"die": signal.SIGKILL, "wait": signal.SIGSTOP}
_passed = 0


def point() -> None:
    """Count a point; kill or stop the process if it is the chosen one."""
    global _passed
    _passed += 1
    action, _, chosen = os.environ.get(VARIABLE, "").partition(":")
    if action in _SIGNALS and int(chosen) == _passed:
        os.kill(os.getpid(), _SIGNALS[action])


class FaultCursor(WatchedCursor):
    """A cursor with a point before and after each statement."""

    def execute(self, *arguments: Any, **named: Any) -> None:
        """Run a statement between two points."""
        point()
        super().execute(*arguments, **named)
        point()

    def copy_expert(self, *arguments: Any, **named: Any) -> None:
        """Copy between two points."""
        point()
        super().copy_expert(*arguments, **named)
        point()


def cursor_factory() -> type[WatchedCursor] | None:
    """Return the cursor class that counts points if a test has set the variable, else None."""
    return FaultCursor if os.environ.get(VARIABLE) else None
