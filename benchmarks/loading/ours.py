"""ratesflow: upload a batch, then run its tasks, each as a new process or all in a warm one."""

import itertools
import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.servers import BUCKET, Servers

STEPS = ("validate", "load", "commit")
# The settings of Dockerfile.loader that affect time or memory.
IMAGE_SETTINGS = {"MALLOC_ARENA_MAX": "1"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class UploadedBatch:
    """A batch in the bucket, and the database that it is loaded into."""

    batch_id: str
    key: str
    version: str
    database: str

    def arguments(self, task: str, shards: int = 1) -> list[str]:
        """Return the command of one task."""
        named = {"bucket": BUCKET, "key": self.key, "version": self.version, "batch-id": self.batch_id}
        options = [part for name, value in named.items() for part in (f"--{name}", value)]
        return python_task(task, *options, "--shards", str(shards))


@dataclass(frozen=True)
class TaskRun:
    """One process of a task: seconds from its start to its end, and peak memory in MB of 2**20 bytes."""

    seconds: float
    peak_mb: float


def python_task(task: str, *arguments: str) -> list[str]:
    """Return the command that runs a task of the loader."""
    return [sys.executable, "-P", "-m", "ratesflow.loader", task, *arguments]


def upload(servers: Servers, path: Path, database: str) -> UploadedBatch:
    """Upload a file as a new batch."""
    batch_id = f"batch-{next(_numbers)}"
    key = f"incoming/{batch_id}.csv"
    s3 = servers.aws("s3")
    s3.upload_file(str(path), BUCKET, key)
    return UploadedBatch(batch_id, key, s3.head_object(Bucket=BUCKET, Key=key)["VersionId"], database)


def remove(servers: Servers, sent: UploadedBatch) -> None:
    """Delete a batch's file from the bucket, so that the disk does not fill up."""
    servers.aws("s3").delete_object(Bucket=BUCKET, Key=sent.key, VersionId=sent.version)


def run_task(servers: Servers, sent: UploadedBatch, task: str) -> TaskRun:
    """Run one task as a process. Raises RuntimeError with its log if it fails."""
    return run_shards(servers, sent, task, 1)[1][0]


def run_whole(servers: Servers, sent: UploadedBatch) -> dict[str, TaskRun]:
    """Run all tasks in sequence, each as a process."""
    return {task: run_task(servers, sent, task) for task in STEPS}


def run_shards(servers: Servers, sent: UploadedBatch, task: str, shards: int) -> tuple[float, list[TaskRun]]:
    """Run all shards of a task at once, as an array job does; return the seconds to the last end, and the runs."""
    environment = {**servers.environment(sent.database), **IMAGE_SETTINGS}
    began = time.perf_counter()
    children = [
        subprocess.Popen(
            sent.arguments(task, shards),
            env={**environment, "AWS_BATCH_JOB_ARRAY_INDEX": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(shards)
    ]
    texts = [child.communicate()[0] for child in children]
    seconds = time.perf_counter() - began
    for child, text in zip(children, texts, strict=True):
        if child.returncode:
            raise RuntimeError(f"{task} of {sent.batch_id} ended with {child.returncode}:\n{text[-3000:]}")
    last = [_last_line(text) for text in texts]
    return seconds, [TaskRun(seconds, float(line["peak_mb"])) for line in last]


def _last_line(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        with suppress(ValueError):
            found: dict[str, Any] = json.loads(line)
            if "peak_mb" in found:
                return found
    raise RuntimeError(f"a task logged no figures:\n{text[-3000:]}")


def run_warm(servers: Servers, warm_up: UploadedBatch, sent: UploadedBatch) -> dict[str, float]:
    """Run all tasks in one process that has run another batch before; return the seconds of each."""
    command = [sys.executable, "-m", "benchmarks.loading.warm", *(json.dumps(vars(each)) for each in (warm_up, sent))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=servers.environment(sent.database))
    if done.returncode:
        raise RuntimeError(f"the tasks failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds
