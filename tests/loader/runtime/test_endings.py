"""A task that is killed, gets SIGTERM, or hangs in a statement leaves no session."""

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.registry import task_names
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.processes import finish, sessions, start, wait_until
from tests.loader.samples import csv, rows

# Parts of 8 KiB: a small file has many, and so two halves.
SMALL_PARTS = (
    "s3.PART_BYTES = copy_rows.PART_BYTES = 8192; byte_ranges.shard_range.__defaults__ = (8192,); "
    "digest.PartDigests.__init__.__defaults__ = (8192,)"
)
PORTS = "code,name,parent_slug\nCNSHA,Shanghai and more,china_east_main\n"
REGIONS = "slug,name,parent_slug\nchina_east_main,China East Main,china_main\n"


@dataclass(frozen=True)
class Scene:
    """A task that is about to run, the lock that holds it in its first statement that writes, and its sessions."""

    task: str
    arguments: tuple[str, ...]
    lock: str
    sessions: int = 1
    owner: bool = False

    def start(self, harness: TaskHarness, **environment: str) -> "subprocess.Popen[str]":
        """Start an attempt of the task."""
        url = harness.database.url if self.owner else harness.database.loader_url
        return start(self.task, *self.arguments, patches=SMALL_PARTS, DATABASE_URL=url, **environment)


def scene(harness: TaskHarness, task: str) -> Scene:
    """Prepare what a task works on."""
    batches = "LOCK TABLE batches IN EXCLUSIVE MODE"
    if task in ("reference", "ledger", "migrate"):
        for name, text in (("ports", PORTS), ("regions", REGIONS)):
            harness.aws("s3").put_object(Bucket=harness.bucket, Key=f"{name}.csv", Body=text.encode())
        files = ("--ports", "ports.csv", "--regions", "regions.csv") if task == "reference" else ()
        lock = {
            "reference": "LOCK TABLE reference_version IN EXCLUSIVE MODE",
            "ledger": "LOCK TABLE batches IN ACCESS EXCLUSIVE MODE",
            "migrate": "LOCK TABLE pg_namespace IN SHARE MODE",  # its roles are granted rights on a schema
        }
        return Scene(task, ("--run-id", "run-1", *files), lock[task], owner=task == "migrate")
    batch = harness.send(csv(rows(3000)))
    before: dict[str, tuple[Callable[..., Any], ...]] = {
        "load": (validate,),
        "commit": (validate, load),
        "discard": (validate, load),
        "undo": (validate, load, commit),
        "compact": (validate, load, commit),
        "gc": (validate,),
        "validate": (),
    }
    assert task in before, f"prepare what the task {task} works on, and the lock that holds it"
    for done in before[task]:
        harness.run(done, batch)
    if task in ("undo", "compact", "gc"):
        named = ("--batch", batch.batch_id) if task == "undo" else ()
        lock = "LOCK TABLE data_version IN EXCLUSIVE MODE" if task == "compact" else batches
        return Scene(task, ("--run-id", "run-1", *named), lock)
    object_ = ("--bucket", batch.bucket, "--key", batch.key, "--version", batch.version)
    arguments = (*object_, "--batch-id", batch.batch_id)
    if task == "load":
        number = harness.database.one("SELECT batch_no FROM batches")
        harness.database.query("SELECT stage_batch(%s)", number)
        return Scene(task, arguments, f"LOCK TABLE staging_{number} IN SHARE MODE", sessions=2)
    return Scene(task, arguments, batches)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 KiB in this process, as in the tasks' own."""
    from ratesflow.loader.batches import byte_ranges, digest, s3
    from ratesflow.loader.tasks import copy_rows

    for module in (s3, copy_rows):
        monkeypatch.setattr(module, "PART_BYTES", 8192)
    monkeypatch.setattr(byte_ranges.shard_range, "__defaults__", (8192,))
    monkeypatch.setattr(digest.PartDigests.__init__, "__defaults__", (8192,))


@contextlib.contextmanager
def held(harness: TaskHarness, lock: str) -> Iterator[Any]:
    """Hold a lock, until the caller lets go of it."""
    holder = harness.database.connect()
    try:
        holder.cursor().execute(lock)
        yield holder
    finally:
        holder.close()


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("task", task_names())
def test_a_task_that_is_ended_leaves_no_session(harness18: TaskHarness, task: str) -> None:
    """After SIGKILL or SIGTERM in a statement, its sessions end at once; the next attempt does all the work."""
    acts = scene(harness18, task)
    there = lambda: sessions(harness18.database, task)  # noqa: E731

    def waits() -> bool:
        return [kind for kind, *_ in there()].count("Lock") == acts.sessions

    with held(harness18, acts.lock) as holder:
        for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)):
            process = acts.start(harness18)
            wait_until(waits, 20, there)
            process.send_signal(number)
            at = time.monotonic()
            ended, output = finish(process)
            assert ended == code, output
            assert time.monotonic() - at < 2
            wait_until(lambda: not there(), 3, there)
        holder.rollback()
    at = time.monotonic()
    code, output = finish(acts.start(harness18))
    assert code == 0, output
    assert time.monotonic() - at < 10
    assert there() == []


@pytest.mark.parametrize(("task", "point"), [("undo", 6), ("compact", 4)])
def test_an_attempt_that_stands_still_is_ended_by_the_next(harness18: TaskHarness, task: str, point: int) -> None:
    """It hangs while it holds locks; another attempt of the same job terminates it and does the work."""
    acts = scene(harness18, task)
    stopped = acts.start(harness18, RATESFLOW_FAULT_INJECTION=f"wait:{point}")
    try:
        wait_until(lambda: _is_stopped(stopped.pid), 20)
        assert sessions(harness18.database, task)
        code, output = finish(acts.start(harness18))
        assert code == 0, output
        result = json.loads(
            harness18.aws("s3").get_object(Bucket=harness18.bucket, Key=f"results/run-1/{task}.json")["Body"].read()
        )
        assert "another" not in result["message"]
        assert sessions(harness18.database, task) == []
    finally:
        stopped.kill()
        stopped.communicate()


def test_a_task_that_connects_ends_at_sigterm(harness18: TaskHarness) -> None:
    """A task that connects to a server that does not respond ends at SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://loader:x@127.0.0.1:{silent.getsockname()[1]}/x"
        process = start("ledger", "--run-id", "run-1", DATABASE_URL=url)
        connected, _ = silent.accept()
        at = time.monotonic()
        process.terminate()
        assert finish(process)[0] == 75
        assert time.monotonic() - at < 2
        connected.close()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
