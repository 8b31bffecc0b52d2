"""The field: a stack with a standby, a shaky wire to its database, a shaky S3, and all that was sent into it."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from local.deploy import deploy
from local.postgres import POSTGRES_VERSIONS, VERSION, Postgres, start_postgres
from local.processes import free_port, identity
from tests.faults.contents import Content
from tests.faults.proxies import ShakyS3, Wire
from tests.faults.struck import TASKS, strike_job, struck_definition
from tests.local.conftest import Stack
from tests.local.hands import databases
from workflow.trigger import execution_name

DISK_BYTES = 1 << 30
# A message that was received by a handler which died comes again after this time; a minute on AWS.
VISIBILITY_SECONDS = 5


class StackDownError(Exception):
    """The supervisor of the stack ended, which no strike aimed at."""


@dataclass
class Upload:
    """One version of an object that was sent, and what its execution is called."""

    name: str
    key: str
    version: str
    content: Content
    gone: bool = False


@dataclass
class Field:
    """A stack under strikes. `rng` decides everything that chance decides outside the stack."""

    stack: Stack
    rng: random.Random
    disk: bool = field(default=False)
    uploads: dict[str, Upload] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    twins: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    settled: dict[str, str] = field(default_factory=dict)
    aws_killed: bool = False
    quiet: threading.Event = field(default_factory=threading.Event)
    _started: list[Callable[[], object]] = field(default_factory=list)

    def start(self) -> None:
        """Start everything. The database's disk is a small one of its own if this user may mount one."""
        self.stack.home.mkdir(parents=True)
        self.disk = self._mount()
        self.stack.up()
        self._meet()
        self.owner_url = self.environment["DATABASE_URL"]
        self.database_port = int(self.owner_url.rpartition(":")[2].partition("/")[0])
        self.wire = Wire(self.database_port)
        self._started.append(self.wire.close)
        self.s3 = ShakyS3(self.environment["AWS_ENDPOINT_URL"], self.rng.randrange(1 << 30))
        self._started.append(self.s3.stop)
        self.standby = self._standby()
        self._started.append(self.standby.stop)

    def _meet(self) -> None:
        self.environment = self.stack.environment
        self.supervisor = psutil.Process(int((self.stack.home / "stack.pid").read_text()))

    def end(self) -> None:
        """Stop everything that was started and leave nothing."""
        for process in self.twins:
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

    def _standby(self) -> Postgres:
        folder, owner = Path(tempfile.mkdtemp(prefix="ratesflow-standby-")), (self.stack.home / "postgres").owner()
        self._started.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        user = owner if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        command = [str(POSTGRES_VERSIONS[VERSION] / "pg_basebackup"), "--pgdata", str(folder / "data")]
        command += ["--write-recovery-conf", "--dbname", self.owner_url, "--checkpoint", "fast"]
        subprocess.run(command, check=True, cwd="/", **identity(user))
        password = json.loads((self.stack.home / "passwords.json").read_text())["postgres"]
        settings = {"hot_standby": "on", "max_connections": "200", "max_wal_size": "4GB", "fsync": "off"}
        return start_postgres(
            folder / "data", free_port(), password, folder / "log", version=VERSION, settings=settings
        )

    @property
    def standby_url(self) -> str:
        """The address of the standby, as its owner."""
        return self.standby.url(database=self.owner_url.rpartition("/")[2])

    def aws(self, service: str) -> Any:
        """Return the client of a service of the embedded AWS."""
        return self.stack.aws(service)

    def describe(self, name: str) -> Any:
        """Describe an execution by its name. Raises ExecutionDoesNotExist of the client."""
        machine = self.environment["RATESFLOW_STATE_MACHINE_ARN"]
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        return self.aws("stepfunctions").describe_execution(executionArn=arn)

    def redeploy(self, point: tuple[str, int] | None, hurried: bool) -> None:
        """Deploy anew: tasks reach database and S3 over our proxies; one task stands still at a fault point."""
        told = databases(self.stack)
        old, new = f":{self.database_port}/", f":{self.wire.port}/"
        deploy(
            self.environment["AWS_ENDPOINT_URL"],
            replace(told, loader=told.loader.replace(old, new)),
            struck_definition(self.s3.url, point, hurried),
        )
        if point and point[0] not in TASKS:
            strike_job(self.aws("batch"), *point)
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        self.aws("sqs").set_queue_attributes(QueueUrl=self.environment["RATESFLOW_QUEUE_URL"], Attributes=attributes)

    def send(self, content: Content, key: str) -> Upload:
        """Upload a file, and keep trying while S3 is away, as a supplier's client does."""
        self._know(content)
        return self.keep(key, self._put(content, key), content)

    def _put(self, content: Content, key: str) -> str:
        def put() -> str:
            return str(self.aws("s3").put_object(Bucket=self.bucket, Key=key, Body=content.data)["VersionId"])

        return str(self.patiently(put))

    def start_in_shards(self, content: Content, name: str, shards: int) -> Upload:
        """Start the execution of a file that lies elsewhere, in so many shards."""
        self._know(content)
        key = f"elsewhere/{name}.csv"
        version = self._put(content, key)
        given = {"bucket": self.bucket, "key": key, "version": version, "etag": content.etag}
        given |= {"bytes": len(content.data), "shards": shards}
        states, text = self.aws("stepfunctions"), json.dumps(given)

        def begin() -> None:
            with suppress(states.exceptions.ExecutionAlreadyExists):
                machine = self.environment["RATESFLOW_STATE_MACHINE_ALIAS_ARN"]
                states.start_execution(stateMachineArn=machine, name=name, input=text)

        self.patiently(begin)
        upload = self.uploads[name] = Upload(name, key, version, content)
        return upload

    def _know(self, content: Content) -> None:
        if content not in self.contents:
            self.contents.append(content)

    def keep(self, key: str, version: str, content: Content) -> Upload:
        """Remember what was sent."""
        name = execution_name(self.bucket, key, version)
        return self.uploads.setdefault(name, Upload(name, key, version, content))

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.environment["RATESFLOW_BUCKET"]

    def submit(self, task: str, **parameters: str) -> None:
        """Submit a maintenance task, as the schedule and the command line do; nobody waits for it."""
        run = f"{task}-{self.rng.randrange(1 << 60):x}"
        with suppress(BotoCoreError, ClientError):
            self.aws("batch").submit_job(
                jobName=run,
                jobQueue=self.environment["RATESFLOW_JOB_QUEUE"],
                jobDefinition=f"ratesflow-{task}",
                parameters={"run": run, **parameters},
            )

    @property
    def is_up(self) -> bool:
        """Tell whether the process that watches over the stack is there."""
        with suppress(psutil.Error):
            return bool(self.supervisor.is_running() and self.supervisor.status() != psutil.STATUS_ZOMBIE)
        return False

    def up_again(self) -> str:
        """Start a stack whose supervisor ended, as a person would; return the end of what it said."""
        log = (self.stack.home / "logs" / "stack.log").read_text(errors="replace").splitlines()
        self.stack.up()
        self._meet()
        return " | ".join(log[-3:])

    def patiently(self, do: Callable[[], Any], seconds: float = 60) -> Any:
        """Do something with AWS until it works. Raises StackDownError when that cannot be."""
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
        """Return the process of a part of the stack, such as `local.aws`; None while it is away."""
        with suppress(psutil.Error):
            for process in self.supervisor.children():
                with suppress(psutil.Error):
                    if process.cmdline()[1:3] == ["-m", module]:
                        return process
        return None

    def tasks(self) -> list[psutil.Process]:
        """Return the tasks that this stack's jobs run now."""
        aws, found = self.part("local.aws"), []
        with suppress(psutil.Error):
            for process in aws.children() if aws else []:
                with suppress(psutil.Error):
                    if process.cmdline()[1:3] == ["-m", "loader"]:
                        found.append(process)
        return found

    def postmaster(self) -> psutil.Process | None:
        """Return the process of the database server, None while it is away."""
        with suppress(psutil.Error, OSError, ValueError):
            return psutil.Process(int((self.stack.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        return None

    def visible_content(self, chance: random.Random) -> Content | None:
        """Choose a content for a reader: mostly one of the last."""
        known = list(self.contents)
        if not known:
            return None
        return chance.choice(known[-12:] if chance.random() < 0.7 else known)

    def may_go(self, content: Content) -> bool:
        """Tell whether a content may leave: somebody asked for its undo."""
        return content.number in self.undone


def asked(url: str, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Ask a database once."""
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def resume(pid: int) -> None:
    """Let a process go on, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
