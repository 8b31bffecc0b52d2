"""A starting stack has a longer time limit while its processes work, and names the component that is starting."""

import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from ratesflow.database.migrate import SchemaMismatchError
from ratesflow.local import startup, supervisor
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


def launch(stack: Stack, code: str, *arguments: str) -> None:
    """Start a process of Python as the embedded AWS."""
    stack._launch("aws", [sys.executable, "-c", code, *arguments], {})


def test_busy_process_has_longer_time_limit(stack: Stack, tmp_path: Path) -> None:
    """A starting process that uses the processor is not ended by the limit for idle ones; meanwhile it is named."""
    ready = tmp_path / "ready"
    seen = set()

    def is_ready() -> bool:
        seen.add(stack.home.starting())
        return ready.exists()

    launch(stack, BUSY, str(ready))
    stack._await("aws", is_ready)
    assert seen == {"the embedded AWS"}
    stack.children["aws"].kill()


def test_idle_process_times_out(stack: Stack) -> None:
    """A process that is running but idle exceeds its time limit, and the error has a readable message."""
    launch(stack, "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(StackError, match=r"the embedded AWS is running, but was not ready after [1-9]\d* s"):
        stack._await("aws", lambda: False)
    assert time.monotonic() - began < 20
    stack.children["aws"].kill()


def test_process_that_exits_is_reported_at_once(stack: Stack) -> None:
    """A process that exits before it is ready is reported with the end of its log."""
    launch(stack, "print('the port is taken')")
    with pytest.raises(StackError, match=r"the embedded AWS did not start. The end of .*:\nthe port is taken"):
        stack._await("aws", lambda: False)


class Defective(BaseHTTPRequestHandler):
    """Responds to every request with a status."""

    status = 500

    def do_GET(self) -> None:
        """Respond with the status."""
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_status_500_ends_the_wait(stack: Stack) -> None:
    """A health check that responds with 500 ends the wait at once; 503 does not."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Defective) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/health/ready"
        launch(stack, "import time; time.sleep(60)")
        began = time.monotonic()
        with pytest.raises(
            StackError, match=r"the embedded AWS is running, but http://.*/health/ready responds with 500\. The end"
        ):
            stack._await("aws", lambda: startup.responds(url))
        assert time.monotonic() - began < 1
        Defective.status = 503
        assert not startup.responds(url)
        Defective.status = 200
        assert startup.responds(url)
        server.shutdown()
    stack.children["aws"].kill()


def test_an_old_database_names_the_folder_to_remove(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be migrated ends the start at once, with the folder to remove and the way around it."""

    def old(_: str) -> None:
        raise SchemaMismatchError("the database is at revision 0001 but lacks x")

    monkeypatch.setattr(supervisor, "start_postgres", lambda *_, **__: SimpleNamespace(url=lambda **_: "postgresql:"))
    monkeypatch.setattr(supervisor, "_create_database", lambda _: None)
    monkeypatch.setattr(supervisor, "migrate", old)
    folder = re.escape(str(stack.home.folder))
    with pytest.raises(StackError, match=rf"lacks x: remove the folder {folder}, with all of its data.*another --home"):
        stack._start_database()
