"""Lets a test end or stop a task between any two statements: every claim of all or nothing is tried that way.

`RATESFLOW_FAULT_INJECTION=die:7` ends the process, as SIGKILL does, at the seventh point; `wait:7` stops it there with
SIGSTOP. A point lies before and after each statement, so that both sides of every commit are points: before
the next statement means after the commit. Only tests set this variable; without it nothing is counted.
"""

import os
import signal
from typing import Any

from ratesflow.loader.runtime.session import WatchedCursor

VARIABLE = "RATESFLOW_FAULT_INJECTION"
_SIGNALS = {"die": signal.SIGKILL, "wait": signal.SIGSTOP}
_passed = 0


def point() -> None:
    """Pass a point; the process may end or stop here."""
    global _passed
    _passed += 1
    what, _, wanted = os.environ.get(VARIABLE, "").partition(":")
    if what in _SIGNALS and int(wanted) == _passed:
        os.kill(os.getpid(), _SIGNALS[what])


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
    """Return the cursor that counts points if a test asked for it, None for the plain one."""
    return FaultCursor if os.environ.get(VARIABLE) else None
