"""PostgreSQL after a crash."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from local import postgres
from local.processes import free_port
from tests.local.hands import wait_for

KILLED = """
import os, signal, sys, time
from pathlib import Path
from local.postgres import start_postgres
data = Path(sys.argv[1])
server = start_postgres(data, int(sys.argv[2]), "only-for-tests", data.with_suffix(".log"))
os.kill(server.process.pid, signal.SIGKILL)
print(server.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A place for data that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="ratesflow-tests-") as folder:
        yield Path(folder) / "data"


def test_a_killed_server_that_nobody_reaps_is_followed_by_another(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zombie looks alive to PostgreSQL, which would refuse to start beside it; it starts all the same."""
    monkeypatch.setattr(postgres, "REAPED_SECONDS", 1)
    port = free_port()
    command = [sys.executable, "-c", KILLED, str(data), str(port)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        server = postgres.start_postgres(data, port, "only-for-tests", data.with_suffix(".log"))
        psycopg2.connect(server.url()).close()
        server.stop()
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
