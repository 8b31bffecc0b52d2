"""A starting stack has a longer time limit while its processes work, and names the component that is starting."""

import sys
import time
from pathlib import Path

import pytest

from ratesflow.local import startup
from ratesflow.local.processes import StackError
from ratesflow.local.state_directory import StateDirectory
from ratesflow.local.supervisor import Ports, Stack

BUSY = "import sys, time, pathlib\nend = time.time() + 4\nwhile time.time() < end: pass\n"
BUSY += "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack without processes, with a time limit of 1.5 seconds for an idle process."""
    monkeypatch.setattr(startup, "QUIET_SECONDS", 1.5)

    home = StateDirectory(tmp_path)
    home.prepare()
    return Stack(home, Ports())


def test_busy_process_has_longer_time_limit(stack: Stack, tmp_path: Path) -> None:
    """A starting process that uses the processor is not ended by the limit for idle ones; meanwhile it is named."""
    ready = tmp_path / "ready"
    seen = set()

    def is_ready() -> bool:
        seen.add(stack.home.starting())
        return ready.exists()

    stack._start("aws", [sys.executable, "-c", BUSY, str(ready)], {}, is_ready)
    assert seen == {"the embedded AWS"}
    stack.children["aws"].kill()


def test_idle_process_times_out(stack: Stack) -> None:
    """A process that is running but idle exceeds its time limit, and the error has a readable message."""
    began = time.monotonic()
    with pytest.raises(StackError, match=r"the embedded AWS is running, but was not ready after [1-9]\d* s"):
        stack._start("aws", [sys.executable, "-c", "import time; time.sleep(60)"], {}, lambda: False)
    assert time.monotonic() - began < 20
    stack.children["aws"].kill()


def test_process_that_exits_is_reported_at_once(stack: Stack) -> None:
    """A process that exits before it is ready is reported with the end of its log."""
    with pytest.raises(StackError, match=r"the embedded AWS did not start. The end of .*:\nthe port is taken"):
        stack._start("aws", [sys.executable, "-c", "print('the port is taken')"], {}, lambda: False)
