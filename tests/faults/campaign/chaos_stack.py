"""A stack for fault injection: with standbys, a faulty network to its database, a faulty S3, and its uploads."""

import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from ratesflow.database.reference import Reference, builtin
from ratesflow.local.deploy import deploy
from ratesflow.workflow.trigger import execution_name
from tests.faults.campaign.contents import Content
from tests.faults.campaign.low_limits import low_limits
from tests.faults.campaign.task_overrides import TASKS, overridden_definition, override_job
from tests.faults.campaign.uploads import FORCED, IGNORED_PREFIX, Upload
from tests.faults.readers.logins import LOGINS, make_clones, set_loader_login, superuser_url
from tests.faults.readers.proxies import FaultyS3, Wire
from tests.faults.readers.snapshots import Snapshot
from tests.faults.readers.standbys import Standbys
from tests.local.conftest import Stack
from tests.local.process_control import databases

DISK_BYTES = 1 << 30
# A message whose handler was killed is received again after this time; one minute on AWS.
VISIBILITY_SECONDS = 5


class StackDownError(Exception):
    """The supervisor of the stack ended, although no fault targets it."""


@dataclass
class ChaosStack:
    """A stack under fault injection. `rng` makes all random decisions outside the stack."""

    stack: Stack
    rng: random.Random
    disk: bool = field(default=False)
    uploads: dict[str, Upload] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    second_processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    settled: dict[str, str] = field(default_factory=dict)
    aws_killed: bool = False
    trees: list[Reference] = field(default_factory=lambda: [builtin()])
    former_trees: list[Reference] = field(default_factory=list)
    moves: list[Reference] = field(default_factory=list)
    before: Snapshot | None = None
    turn: int = 0
    jobs: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    quiet: threading.Event = field(default_factory=threading.Event)
    _started: list[Callable[[], object]] = field(default_factory=list)

    def start(self) -> None:
        """Start all components. The database gets a small separate disk if this user may mount one."""
        self.stack.home.mkdir(parents=True)
        self.disk = self._mount()
        self.up()
        self._read_environment()
        self.owner_url = self.environment["DATABASE_URL"]
        self.database_port = int(self.owner_url.rpartition(":")[2].partition("/")[0])
        self.wire = Wire(self.database_port)
        self._started.append(self.wire.close)
        self.s3 = FaultyS3(self.environment["AWS_ENDPOINT_URL"], self.rng.randrange(1 << 30))
        self._started.append(self.s3.stop)
        self.passwords = json.loads((self.stack.home / "passwords.json").read_text())
        self.superuser_url = superuser_url(self.owner_url, self.passwords)
        make_clones(self.owner_url, self.passwords)
        owner = (self.stack.home / "postgres").owner()
        self.standbys = Standbys(self.owner_url, self.superuser_url, owner, self.passwords)
        self._started.append(self.standbys.end)
        self.log_in()

    def up(self) -> None:
        """Start the stack with low limits for all tasks."""
        with low_limits():
            self.stack.up()

    def log_in(self, *, turn: bool = False) -> None:
        """Set the logins of tasks and of the standbys' API; with `turn` switch to the other users."""
        self.turn ^= turn
        set_loader_login(self.aws("secretsmanager"), self.turn, self.passwords)
        if turn or not self.standbys.api:
            reader = LOGINS["api"][self.turn]
            self.standbys.start_api(reader, self.passwords[reader])

    def _read_environment(self) -> None:
        self.environment = self.stack.environment
        self.supervisor = psutil.Process(int((self.stack.home / "stack.pid").read_text()))

    def end(self) -> None:
        """Stop all processes and remove everything."""
        for process in self.second_processes:
            process.kill()
            process.wait()
        for stop in reversed(self._started):
            stop()
        self.stack.run("down", code=None)
        for process in self.stack.processes():
            process.kill()
        if self.disk:
            subprocess.run(["umount", "-l", str(self.stack.home / "postgres")], check=False)

    def _mount(self) -> bool:
        if os.geteuid() != 0:
            return False
        folder = self.stack.home / "postgres"
        folder.mkdir()
        size = f"size={DISK_BYTES},mode=700"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=False).returncode:
            folder.rmdir()
            return False
        return True

    def start_round(self) -> None:
        """Reset the state of the last round; readers may still see one of its trees."""
        self.quiet.clear()
        self.aws_killed = False
        if self.before:
            self.former_trees, self.trees, self.moves = self.trees, [self.before.tree], []

    def aws(self, service: str) -> Any:
        """Return the client of a service of the embedded AWS."""
        return self.stack.aws(service)

    def describe(self, name: str) -> Any:
        """Describe an execution by its name. Raises ExecutionDoesNotExist of the client."""
        machine = self.environment["RATESFLOW_STATE_MACHINE_ARN"]
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        return self.aws("stepfunctions").describe_execution(executionArn=arn)

    def redeploy(self, point: tuple[str, int] | None, short_timeout: bool) -> None:
        """Redeploy: tasks reach database and S3 through the proxies; one task suspends itself at a fault point."""
        addresses = databases(self.stack)
        old, new = f":{self.database_port}/", f":{self.wire.port}/"
        deploy(
            self.environment["AWS_ENDPOINT_URL"],
            replace(addresses, loader=addresses.loader.replace(old, new)),
            overridden_definition(self.s3.url, point, short_timeout),
        )
        if point and point[0] not in TASKS:
            override_job(self.aws("batch"), *point)
        self.log_in()
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        self.aws("sqs").set_queue_attributes(QueueUrl=self.environment["RATESFLOW_QUEUE_URL"], Attributes=attributes)

    def send(self, content: Content, key: str, *, force: bool = False) -> Upload:
        """Upload a file, with retries while S3 is unavailable, as a supplier's client does."""
        self._add_content(content)
        self.counted["forced"] += force
        return self.record(key, self.put(content.data, key, force), content)

    def put(self, data: bytes, key: str, force: bool = False) -> str:
        """Put an object into the bucket and return its version."""
        metadata = {"ratesflow-force": "true"} if force else {}

        def once() -> str:
            response = self.aws("s3").put_object(Bucket=self.bucket, Key=key, Body=data, Metadata=metadata)
            return str(response["VersionId"])

        return str(self.retry(once))

    def start_in_shards(self, content: Content, name: str, shards: int) -> Upload:
        """Start the execution of a file that the trigger ignores, with a number of shards."""
        self._add_content(content)
        key = f"{IGNORED_PREFIX}{name}.csv"
        version = self.put(content.data, key)
        event = {"bucket": self.bucket, "key": key, "version": version, "etag": content.etag}
        event |= {"bytes": len(content.data), "shards": shards}
        states, text = self.aws("stepfunctions"), json.dumps(event)

        def begin() -> None:
            with suppress(states.exceptions.ExecutionAlreadyExists):
                machine = self.environment["RATESFLOW_STATE_MACHINE_ALIAS_ARN"]
                states.start_execution(stateMachineArn=machine, name=name, input=text)

        self.retry(begin)
        upload = self.uploads[name] = Upload(name, key, version, content)
        return upload

    def _add_content(self, content: Content) -> None:
        if content not in self.contents:
            self.contents.append(content)

    def record(self, key: str, version: str, content: Content) -> Upload:
        """Record an upload."""
        name = execution_name(self.bucket, key, version)
        return self.uploads.setdefault(name, Upload(name, key, version, content, key.startswith(FORCED)))

    def copies(self, content: Content) -> int:
        """Return how many committed batches may have this content: one, and one per forced upload."""
        return 1 + sum(upload.forced for upload in list(self.uploads.values()) if upload.content == content)

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.environment["RATESFLOW_BUCKET"]

    def submit(self, task: str, **parameters: str) -> None:
        """Submit an upkeep task, as the schedule and the command line do, without waiting for it."""
        run_id = f"{task}-{self.rng.randrange(1 << 60):x}"
        with suppress(BotoCoreError, ClientError):
            submitted = self.aws("batch").submit_job(
                jobName=run_id,
                jobQueue=self.environment["RATESFLOW_JOB_QUEUE"],
                jobDefinition=f"ratesflow-{task}",
                parameters={"run_id": run_id, **parameters},
            )
            self.jobs.append(submitted["jobId"])

    def has_running_jobs(self) -> bool:
        """Return whether an upkeep task is running. Raises boto3's errors while AWS is unavailable."""
        jobs = self.aws("batch").describe_jobs(jobs=self.jobs)["jobs"] if self.jobs else []
        self.jobs = [job["jobId"] for job in jobs if job["status"] not in ("SUCCEEDED", "FAILED")]
        return bool(self.jobs)

    @property
    def is_up(self) -> bool:
        """Return whether the supervisor of the stack is running."""
        with suppress(psutil.Error):
            return bool(self.supervisor.is_running() and self.supervisor.status() != psutil.STATUS_ZOMBIE)
        return False

    def restart(self) -> str:
        """Start a stack whose supervisor ended, as a user would; return the end of its log."""
        log = (self.stack.home / "logs" / "stack.log").read_text(errors="replace").splitlines()
        self.up()
        self._read_environment()
        return " | ".join(log[-3:])

    def retry(self, do: Callable[[], Any], seconds: float = 60) -> Any:
        """Call a function that uses AWS until it succeeds. Raises StackDownError if the stack is down."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return do()
            except (BotoCoreError, ClientError):
                if not self.is_up:
                    raise StackDownError from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def part(self, module: str) -> psutil.Process | None:
        """Return the process of a module of the stack, such as `ratesflow.local.aws`; None while it is not running."""
        with suppress(psutil.Error):
            for process in self.supervisor.children():
                with suppress(psutil.Error):
                    if process.cmdline()[1:4] == ["-P", "-m", module]:
                        return process
        return None

    def tasks(self) -> list[psutil.Process]:
        """Return the running task processes of this stack."""
        aws, found = self.part("ratesflow.local.aws"), []
        with suppress(psutil.Error):
            for process in aws.children() if aws else []:
                with suppress(psutil.Error):
                    if process.cmdline()[1:4] == ["-P", "-m", "ratesflow.loader"]:
                        found.append(process)
        return found

    def postmaster(self) -> psutil.Process | None:
        """Return the process of the database server; None while it is not running."""
        with suppress(psutil.Error, OSError, ValueError):
            return psutil.Process(int((self.stack.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        return None

    @property
    def api_urls(self) -> list[str]:
        """The URLs of the API that reads from the writer and of the one that reads from the standbys."""
        return [self.environment["RATESFLOW_API_URL"], self.standbys.api_url]

    def visible_content(self, rng: random.Random) -> Content | None:
        """Choose a content for a reader, mostly a recent one."""
        contents = list(self.contents)
        if not contents:
            return None
        return rng.choice(contents[-12:] if rng.random() < 0.7 else contents)

    def may_disappear(self, content: Content) -> bool:
        """Return whether a content may disappear, because its undo was submitted."""
        return content.number in self.undone
