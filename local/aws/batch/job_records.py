"""Records on disk of each attempt of a job: for benchmarks, tests, and to find orphans."""

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
_SAME_SECONDS = 2.0  # the clock may have been set since, which shifts the times of processes


@dataclass(frozen=True)
class JobRecord:
    """One attempt. Times are seconds since 1970, `peak_mb` the largest resident memory seen, in MiB.

    With command and environment, a developer can run it again in a debugger.
    """

    job_id: str
    attempt: int
    pid: int
    created: float
    command: list[str]
    environment: dict[str, str]
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    peak_mb: float | None = None


def record_directory(data_dir: Path) -> Path:
    """Return the directory of the records: one file per attempt, `JOBID-ATTEMPT.json`, with `-` for colons in JOBID."""
    return data_dir / "jobs"


def write_record(directory: Path, record: JobRecord) -> None:
    """Write or replace the record of an attempt, atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{record.job_id.replace(':', '-')}-{record.attempt}.json"
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(path)


def reap_orphans(data_dir: Path) -> int:
    """Kill the processes that the jobs of a killed server left running; return their number.

    The kernel kills a job with its server, but not the job's children. They have the job's environment, which
    distinguishes them from an unrelated process that reused the process id.
    """
    unfinished: dict[str, tuple[Path, JobRecord]] = {}
    for path, record in _unfinished(record_directory(data_dir)):
        unfinished[record.job_id] = (path, record)
    if not unfinished:
        return 0
    orphans = [process for process in psutil.process_iter() if _belongs_to(process, unfinished)]
    for process in orphans:
        _kill(process)
    psutil.wait_procs(orphans, timeout=_KILL_SECONDS)
    for path, record in unfinished.values():
        ended = replace(record, ended_at=time.time(), exit_code=128 + signal.SIGKILL)
        write_record(path.parent, ended)
    return len(orphans)


def _unfinished(directory: Path) -> Iterator[tuple[Path, JobRecord]]:
    for path in directory.glob("*.json"):
        record = JobRecord(**json.loads(path.read_text()))
        if record.ended_at is None:
            yield path, record


def _belongs_to(process: psutil.Process, unfinished: dict[str, tuple[Path, JobRecord]]) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        if process.environ().get("AWS_BATCH_JOB_ID") in unfinished:
            return True
        return any(
            process.pid == record.pid and process.create_time() == record.created for _, record in unfinished.values()
        )
    except psutil.Error:  # it ended meanwhile, or belongs to another user
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return
