"""What is kept on disk about each attempt of a job: for benchmarks, for tests, and to find orphans."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

_KILL_SECONDS = 5.0
_SAME_SECONDS = 2.0  # the clock may have been set since, and the times of processes move with it


@dataclass(frozen=True)
class JobRecord:
    """One attempt. Times are seconds since 1970, `peak_mb` the largest resident memory seen, in MiB."""

    job_id: str
    attempt: int
    pid: int
    created: float
    command: list[str]
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    peak_mb: float | None = None


def record_directory(data_dir: Path) -> Path:
    """Where the records lie, one file an attempt: `JOBID-ATTEMPT.json`, a colon in JOBID written as `-`."""
    return data_dir / "jobs"


def write_record(directory: Path, record: JobRecord) -> None:
    """Writes or replaces the record of an attempt, at once or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{record.job_id.replace(':', '-')}-{record.attempt}.json"
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(path)


def reap_orphans(data_dir: Path) -> int:
    """Kills what jobs of a server that was itself killed have left running; returns how many processes.

    The kernel kills a job with its server, but not the job's own children. Those carry the job's environment,
    which tells them from a stranger that got the same process id since.
    """
    left: dict[str, tuple[Path, JobRecord]] = {}
    for path, record in _unfinished(record_directory(data_dir)):
        left[record.job_id] = (path, record)
    if not left:
        return 0
    orphans = [process for process in psutil.process_iter() if _belongs_to(process, left)]
    for process in orphans:
        _kill(process)
    psutil.wait_procs(orphans, timeout=_KILL_SECONDS)
    for path, record in left.values():
        ended = replace(record, ended_at=time.time(), exit_code=128 + signal.SIGKILL)
        write_record(path.parent, ended)
    return len(orphans)


def _unfinished(directory: Path) -> Iterator[tuple[Path, JobRecord]]:
    for path in directory.glob("*.json"):
        record = JobRecord(**json.loads(path.read_text()))
        if record.ended_at is None:
            yield path, record


def _belongs_to(process: psutil.Process, left: dict[str, tuple[Path, JobRecord]]) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        if process.environ().get("AWS_BATCH_JOB_ID") in left:
            return True
        return any(process.pid == record.pid and process.create_time() == record.created for _, record in left.values())
    except psutil.Error:  # ended in between, or another user's
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return
