"""A stack on a slow machine is waited for as long as it works, and says what it waits for."""

import sys
import time
from pathlib import Path

import pytest

from ratesflow.local import startup, supervisor
from ratesflow.local.processes import StackError
from ratesflow.local.state_directory import StateDirectory
from ratesflow.local.supervisor import Ports, Stack

BUSY = "import sys, time, pathlib\nend = time.time() + 4\nwhile time.time() < end: pass\n"
BUSY += "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack that has started nothing, and gives up what is quiet for a second and a half."""
    monkeypatch.setattr(startup, "QUIET_SECONDS", 1.5)
    monkeypatch.setattr(supervisor, "START_SECONDS", 1.5, raising=False)
    home = StateDirectory(tmp_path)
    home.prepare()
    return Stack(home, Ports())


def test_what_works_is_waited_for(stack: Stack, tmp_path: Path) -> None:
    """A process that works is waited for, far longer than one that is quiet; meanwhile it is named."""
    ready = tmp_path / "ready"
    seen = set()

    def is_ready() -> bool:
        seen.add(stack.home.waiting_for())
        return ready.exists()

    stack._run("aws", [sys.executable, "-c", BUSY, str(ready)], {}, is_ready)
    assert seen == {"the embedded AWS"}
    stack.children["aws"].kill()


def test_what_is_quiet_is_given_up(stack: Stack) -> None:
    """A process that lives but does nothing is given up soon, in words."""
    began = time.monotonic()
    with pytest.raises(StackError, match=r"the embedded AWS runs, but was not ready after [1-9]\d* s"):
        stack._run("aws", [sys.executable, "-c", "import time; time.sleep(60)"], {}, lambda: False)
    assert time.monotonic() - began < 20
    stack.children["aws"].kill()


def test_what_ends_is_told_at_once(stack: Stack) -> None:
    """A process that ends before it is ready is told with the end of its log."""
    with pytest.raises(StackError, match=r"the embedded AWS did not start. The end of .*:\nthe port is taken"):
        stack._run("aws", [sys.executable, "-c", "print('the port is taken')"], {}, lambda: False)
