"""Runs one attempt of a Batch job as a process: its output, memory limit, timeout and exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil

from ratesflow.local.aws.batch.job_records import JobRecord, write_record
from ratesflow.local.aws.batch.warm_start import WarmProcess, start_warm
from ratesflow.local.parent_death_signal import die_with_parent

_CHECK_SECONDS = 0.2
_DESCENDANTS_SECONDS = 1.0  # finding them means reading every process of the machine
_CHUNK_BYTES = 65_536
_LONGEST_LINE_BYTES = 256 * 1024  # the longest event that CloudWatch Logs accepts
_MIB = 1024 * 1024
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"

WriteLines = Callable[[int, list[str]], None]


@dataclass(frozen=True)
class AttemptSpec:
    """The command of an attempt, and its limits."""

    job_id: str
    attempt: int
    command: list[str]
    environment: Mapping[str, str]
    memory_mib: int | None
    timeout_seconds: float | None
    grace_seconds: float


@dataclass(frozen=True)
class Ending:
    """How an attempt ended. Without an exit code it did not start, and `reason` has the cause."""

    exit_code: int | None
    reason: str | None = None
    timed_out: bool = False


def _prepare_child(server_pid: int) -> None:
    """Prepare the child process before it executes the command."""
    # The server blocks SIGTERM to wait for it, and a blocked signal stays blocked across fork and exec.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    die_with_parent(signal.SIGKILL, server_pid)


def _look_up(pid: int) -> tuple[psutil.Process | None, float]:
    """Return a process and when it was created; None and now if it was killed and its fork server has reaped it."""
    try:
        process = psutil.Process(pid)
        return process, process.create_time()
    except psutil.NoSuchProcess:
        return None, time.time()


class Attempt:
    """A process group that runs one attempt.

    Call `start` and `wait` from one thread, which must outlive the process (the kernel kills the process when the
    thread ends); `stop` may be called from any thread.
    """

    def __init__(self, spec: AttemptSpec, records: Path, write_lines: WriteLines) -> None:
        self._spec = spec
        self._records = records
        self._write_lines = write_lines
        self._drained = threading.Event()
        self._kill_at: float | None = None
        self._timed_out = False
        self._out_of_memory = False
        self._peak_bytes = 0
        self._descendants: list[psutil.Process] = []
        self._descendants_due = 0.0

    def start(self) -> None:
        """Start the process. Raises OSError if the command does not exist or the record cannot be written."""
        self._process: subprocess.Popen[bytes] | WarmProcess = (
            start_warm(self._spec.command, self._spec.environment, self._records.parent) or self._start_cold()
        )
        self._started_at = time.monotonic()
        self._descendants_due = self._started_at + _DESCENDANTS_SECONDS
        self._psutil_process, created = _look_up(self._process.pid)
        self._record = JobRecord(
            self._spec.job_id,
            self._spec.attempt,
            self._process.pid,
            created,
            self._spec.command,
            dict(self._spec.environment),
            time.time(),
        )
        try:
            write_record(self._records, self._record)
        except OSError:
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def _start_cold(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._spec.command,
            env=dict(self._spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_prepare_child, os.getpid()),
        )

    def wait(self) -> Ending:
        """Wait until the process ends, enforcing the limits meanwhile."""
        pause = _CHECK_SECONDS / 8  # the first checks come early, so that short attempts are measured too
        while not self._ended_within(pause):
            self._check_memory()
            self._check_timeout()
            pause = min(pause * 2, _CHECK_SECONDS)
        # As in a container, the other processes end with the first one.
        self._signal(signal.SIGKILL)
        self._reader.join(timeout=2)
        ending = self._ending()
        peak = round(self._peak_bytes / _MIB, 1)
        write_record(
            self._records,
            replace(self._record, ended_at=time.time(), exit_code=ending.exit_code, peak_mb=peak),
        )
        return ending

    def stop(self) -> None:
        """Send SIGTERM to the process group; `wait` kills it after the grace period."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._spec.grace_seconds
            self._signal(signal.SIGTERM)

    def _ended_within(self, seconds: float) -> bool:
        # The end of the output signals the end of the process without polling; but a child may keep the
        # output open, or the process may close it and continue.
        if not self._drained.wait(seconds):
            return self._process.poll() is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def _check_memory(self) -> None:
        resident, now = 0, time.monotonic()
        if self._psutil_process is None:
            return
        with contextlib.suppress(psutil.Error):
            if now >= self._descendants_due:
                self._descendants = self._psutil_process.children(recursive=True)
                self._descendants_due = now + _DESCENDANTS_SECONDS
            resident = self._psutil_process.memory_info().rss
        for process in self._descendants:
            with contextlib.suppress(psutil.Error):
                resident += process.memory_info().rss
        self._peak_bytes = max(self._peak_bytes, resident)
        limit = self._spec.memory_mib
        if limit is not None and resident > limit * _MIB:
            self._out_of_memory = True
            self._signal(signal.SIGKILL)

    def _check_timeout(self) -> None:
        now = time.monotonic()
        limit = self._spec.timeout_seconds
        if limit is not None and not self._timed_out and now >= self._started_at + limit:
            self._timed_out = True
            self.stop()
        if self._kill_at is not None and now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signum)

    def _ending(self) -> Ending:
        code = self._process.returncode
        assert code is not None
        code = 128 - code if code < 0 else code  # ended by a signal: as a shell and a container report it
        if self._out_of_memory:
            return Ending(128 + signal.SIGKILL, OUT_OF_MEMORY)
        return Ending(code, timed_out=self._timed_out)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        rest = b""
        try:
            while chunk := os.read(source, _CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE_BYTES:
                    lines.append(rest)
                    rest = b""
                self._log(lines)
            self._log([rest] if rest else [])
        finally:
            self._process.stdout.close()
            self._drained.set()

    def _log(self, lines: list[bytes]) -> None:
        if lines:
            texts = [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
            self._write_lines(time.time_ns() // 1_000_000, texts)
