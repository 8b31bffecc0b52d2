"""Readers at a steady and a bursty rate while batches arrive in bursts and everything is redeployed.

RATESFLOW_LOAD_SECONDS is the duration (12), RATESFLOW_LOAD_RATE the requests per second of each kind (60), and
RATESFLOW_LOAD_P99_MS the limit of the 99th percentile, which is high because other tests run at the same time.
"""

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from ratesflow.local.deploy import deploy
from ratesflow.workflow.cli import main
from tests.faults.campaign.contents import FIRST_DAY, Content
from tests.load.flood import Flood, bursts, steady
from tests.local.conftest import Stack
from tests.local.process_control import databases, ended, send
from tests.waiting import wait_for

SECONDS = float(os.environ.get("RATESFLOW_LOAD_SECONDS", "12"))
WATCHED = ("ratesflow.api", "ratesflow.local.aws", "ratesflow.local.event_source_mapping")
RATE = float(os.environ.get("RATESFLOW_LOAD_RATE", "60"))
P99_MS = float(os.environ.get("RATESFLOW_LOAD_P99_MS", "6000"))
BURSTS, EACH = 2, 3


def part(stack: Stack, module: str) -> psutil.Process:
    """Return a process of the stack by its module."""
    supervisor = psutil.Process(int((stack.home / "stack.pid").read_text()))
    (found,) = [each for each in supervisor.children() if each.cmdline()[1:4] == ["-P", "-m", module]]
    return found


def request_paths() -> list[str]:
    """Return the paths of requests for a month on some lanes, between ports and regions."""
    until = FIRST_DAY + timedelta(30)
    lanes = sorted(Content(0).sums)
    return [
        f"/rates?date_from={FIRST_DAY}&date_to={until}&orig_code={orig}&dest_code={dest}" for orig, dest in lanes[::3]
    ]


@pytest.mark.timeout(300)
def test_readers_are_unaffected_by_batches_and_a_deployment(own_stack: Stack, tmp_path: Path) -> None:
    """No request fails, the 99th percentile is bounded, every batch commits, and the backlog is drained."""
    stack = own_stack
    stack.up()
    url = stack.environment["RATESFLOW_API_URL"]
    floods = [
        Flood(url, request_paths(), steady(RATE, SECONDS), seed=1).start(),
        Flood(url, request_paths(), bursts(RATE, SECONDS, 30), clients=30, seed=2).start(),
    ]
    names, began = [], time.monotonic()
    for burst in range(BURSTS):
        time.sleep(max(0.0, began + SECONDS * (0.1 + 0.5 * burst) - time.monotonic()))
        names += _burst(stack, tmp_path, burst)
        if burst == 0:
            time.sleep(SECONDS * 0.2)
            _deploy(stack)
    noted = [flood.join() for flood in floods]
    for name in names:
        assert ended(stack, name, seconds=150)["status"] == "SUCCEEDED"
    drained = time.monotonic() - began
    assert stack.query("SELECT state, count(*) FROM batches GROUP BY state") == [("committed", BURSTS * EACH)]
    for kind, found in zip(("steady", "bursty"), noted, strict=True):
        figures = ", ".join(f"p{percent} {found.milliseconds(percent):.1f} ms" for percent in (50, 95, 99))
        print(f"{kind}: {figures}; {dict(found.outcomes)}")
        assert set(found.outcomes) == {"200"}
        assert found.milliseconds(50) < P99_MS / 8
        assert found.milliseconds(99) < P99_MS
    print(f"{len(names)} batches in {drained:.1f} s: {len(names) / drained * 3600:.0f} an hour")


def _burst(stack: Stack, folder: Path, burst: int) -> list[str]:
    """Upload files of mixed sizes at once."""
    return [
        send(
            stack,
            folder,
            Content(burst * EACH + number, rows=(100, 2000, 10_000)[number]).data,
            f"load-{burst}-{number}",
        )
        for number in range(EACH)
    ]


def _deploy(stack: Stack) -> None:
    """Replace every worker of the API, and redeploy all job definitions and the state machine."""
    api = part(stack, "ratesflow.api")
    before = {worker.pid for worker in api.children()}
    api.send_signal(signal.SIGHUP)
    deploy(stack.environment["AWS_ENDPOINT_URL"], databases(stack))
    wait_for(lambda: not before & {worker.pid for worker in api.children()})


def _resources(stack: Stack) -> dict[str, float]:
    """Return the resources that a stack uses: memory, sessions, tables, files, disk."""
    supervisor = psutil.Process(int((stack.home / "stack.pid").read_text()))
    processes, memory = 0, 0
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with suppress(psutil.Error):
            if "postgres" not in process.name():
                processes += 1
                memory += process.memory_info().rss
    ((sessions,),) = stack.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    ((tables,),) = stack.query("SELECT count(*) FROM pg_class WHERE relkind = 'r'")
    ((rates,),) = stack.query("SELECT count(*) FROM rates")
    ((disk,),) = stack.query("SELECT pg_database_size(current_database())")
    files = sum(1 for path in (stack.home.parent / "tmp").rglob("*") if path.is_file())
    descriptors = sum(_descriptors(stack, module) for module in WATCHED)
    return {
        "processes": processes, "memory": memory / 2**20, "sessions": sessions, "tables": tables, "rates": rates,
        "files": files, "descriptors": descriptors, "disk": disk / 2**20,
    }  # fmt: skip


def _descriptors(stack: Stack, module: str) -> int:
    process: Any = part(stack, module)
    return sum(each.num_fds() for each in [process, *process.children()])


@pytest.mark.timeout(300)
def test_resources_do_not_grow_with_removed_batches(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After batches are undone, rejected, compacted and collected, the stack uses the same resources as before."""
    stack = own_stack
    temporary = stack.home.parent / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))  # only for this stack's tasks, not for parallel tests
    stack.up()
    _cycle(stack, tmp_path, 0)
    before = _resources(stack)
    _cycle(stack, tmp_path, 1)
    after = wait_for(lambda: (now := _resources(stack))["processes"] <= before["processes"] and now)
    print({name: (round(before[name], 1), round(after[name], 1)) for name in before})
    for name in ("sessions", "tables", "rates", "files"):
        assert after[name] <= before[name] + (2 if name == "sessions" else 0), name
    assert after["descriptors"] <= before["descriptors"] + 12
    assert after["disk"] <= before["disk"] + 4
    assert after["memory"] <= before["memory"] * 1.15 + 30


def _cycle(stack: Stack, folder: Path, number: int) -> None:
    """Commit and undo a batch, reject another; then run gc and compaction."""
    good = send(stack, folder, Content(number, rows=5000).data, f"grow-{number}")
    bad = send(stack, folder, Content(number, rows=500, bad_line=9).data, f"grow-bad-{number}")
    assert ended(stack, good)["status"] == ended(stack, bad)["status"] == "SUCCEEDED"
    for command in (("undo", good), ("gc",), ("compact",)):
        done = CliRunner().invoke(main, ["--home", str(stack.home), *command])
        assert done.exit_code == 0, done.output
