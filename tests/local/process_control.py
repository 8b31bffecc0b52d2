"""What a test does to a running batch from outside: find its tasks, end or stop them, and see how it ended."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import make_url

from ratesflow.local.aws.batch import warm_start
from ratesflow.local.deploy import Databases
from tests.local.conftest import Stack


def wait_for(condition: Callable[[], Any], seconds: float = 60, pause: float = 0.05) -> Any:
    """Return the first true answer of a condition, asked again after so many seconds each time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError("it did not happen in time")


def command_of(process: psutil.Process) -> list[str]:
    """Return the command of a process, or of a task the title that it gave itself."""
    parts = [part for part in process.cmdline() if part]
    return parts[0].split(" ") if len(parts) == 1 else parts


def tasks_of(stack: Stack, task: str, batch: str) -> list[psutil.Process]:
    """Return the processes of a task that a stack runs for the batch whose name begins so.

    Other stacks of this machine, such as those of tests that run beside this one, may have batches of the same name.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it may have ended meanwhile
            if _is(process, command_of(process), stack.home, task, batch):
                found.append(process)
    return found


def _is(process: psutil.Process, command: list[str], home: Path, task: str, batch: str) -> bool:
    return (
        command[1:5] == ["-P", "-m", "ratesflow.loader", task]
        and any(part.startswith(batch) for part in command)
        and any(str(home / "aws") in parent.cmdline() for parent in process.parents())
    )


def signal_to(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those of the processes that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextmanager
def slow_motion(
    stack: Stack, batch: str, runs: float = 0.03, rests: float = 0.15, observed: threading.Event | None = None
) -> Iterator[None]:
    """Let validate and load of a batch run for `runs` seconds at a time, with pauses between.

    A pause lasts `rests` seconds, or, with `observed`, until the observer sets that event: however busy the
    machine is, the observer then sees the tasks many times before they end.
    """
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            tasks = [*validating.hit.values(), *loading.hit.values()]
            signal_to(tasks, signal.SIGCONT)
            over.wait(runs if tasks else 0.01)
            signal_to(tasks, signal.SIGSTOP)
            if observed is None or not tasks:
                over.wait(rests if tasks else 0)
                continue
            observed.clear()
            while not over.is_set() and not observed.wait(0.05):
                pass

    with (
        Signaller(stack, "validate", batch, signal.SIGSTOP) as validating,
        Signaller(stack, "load", batch, signal.SIGSTOP) as loading,
    ):
        thread = threading.Thread(target=alternate)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
    signal_to([*validating.hit.values(), *loading.hit.values()], signal.SIGCONT)


@contextmanager
def cold_starts(stack: Stack) -> Iterator[None]:
    """Let each task that starts meanwhile be a new interpreter: it takes so long that it is seen before it works."""
    switch = stack.home / "aws" / warm_start.SWITCH
    switch.touch()
    try:
        yield
    finally:
        switch.unlink(missing_ok=True)


class Signaller(threading.Thread):
    """Sends a signal to every process of a task of a batch that appears, once a process, `times` at most.

    Tasks start cold meanwhile.
    """

    def __init__(self, stack: Stack, task: str, batch: str, number: signal.Signals, times: int = 1000) -> None:
        super().__init__(daemon=True)
        self.task, self.batch, self.number, self.left = task, batch, number, times
        self._home, self._cold = stack.home, cold_starts(stack)
        self.hit: dict[int, psutil.Process] = {}
        self._others: set[int] = set()
        self._end = threading.Event()

    def __enter__(self) -> "Signaller":
        self._cold.__enter__()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()
        self._cold.__exit__(None, None, None)

    def run(self) -> None:
        """Look for processes until told to end; a task needs ten times as long to come to its work."""
        while self.left > 0 and not self._end.wait(0.015):
            present = set(psutil.pids())
            self._others &= present
            for pid in present - self._others - self.hit.keys():
                with suppress(psutil.Error):  # it may have ended meanwhile
                    self._look_at(psutil.Process(pid))

    def _look_at(self, process: psutil.Process) -> None:
        """Look at a process once: on a busy machine, to look at all of them each time would take too long."""
        command = command_of(process)
        if _is(process, command, self._home, self.task, self.batch):
            if self.left > 0:
                process.send_signal(self.number)
                self.hit[process.pid] = process
                self.left -= 1
        elif command and command[1:4] != [
            "-P",
            "-m",
            "ratesflow.local.aws",
        ]:  # what starts a task looks so until it is one
            self._others.add(process.pid)


def send(stack: Stack, path: Path, data: bytes, name: str) -> str:
    """Upload a file and return the name of the execution that its arrival starts."""
    from ratesflow.workflow.trigger import execution_name

    path = path / f"{name}.csv"
    path.write_bytes(data)
    bucket, key = stack.environment["RATESFLOW_BUCKET"], f"incoming/{path.name}"
    with path.open("rb") as body:
        version = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    return execution_name(bucket, key, version)


def start(stack: Stack, data: bytes, name: str, shards: int, machine: str | None = None, *, gone: bool = False) -> str:
    """Start an execution of a file that the trigger passes over, or that is gone; return its name."""
    bucket, key = stack.environment["RATESFLOW_BUCKET"], f"incoming/_temporary/{name}.csv"
    version = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=data)["VersionId"]
    if gone:
        stack.aws("s3").delete_object(Bucket=bucket, Key=key, VersionId=version)
    found = {"bucket": bucket, "key": key, "version": version, "etag": "", "bytes": len(data), "shards": shards}
    stack.aws("stepfunctions").start_execution(
        stateMachineArn=machine or stack.environment["RATESFLOW_STATE_MACHINE_ARN"], name=name, input=json.dumps(found)
    )
    return name


def ended(stack: Stack, name: str, seconds: float = 90, machine: str = "ratesflow-ingestion") -> dict[str, Any]:
    """Wait until an execution is over, and describe it."""

    def over() -> Any:
        found = stack.execution(name, machine)
        return found if found and found["status"] != "RUNNING" else None

    return wait_for(over, seconds, 0.1)


def state(stack: Stack, name: str) -> tuple[str, str | None]:
    """Return what the ledger says of a batch: its state and its message."""
    ((found, message),) = stack.ask("SELECT state, message FROM batches WHERE batch_id = %s", name)
    return found, message


def left(stack: Stack, name: str) -> list[Any]:
    """Return what is left of a batch that does not count; nothing, if all is well."""
    ((number,),) = stack.ask("SELECT batch_no FROM batches WHERE batch_id = %s", name)
    table = stack.ask("SELECT relname FROM pg_class WHERE relname = %s", f"staging_{number}")
    rates = stack.ask("SELECT 1 FROM rates WHERE batch_no = %s LIMIT 1", number)
    opened = stack.ask("SELECT 1 FROM visible_batches WHERE batch_no = %s", number)
    running = [task for task in ("validate", "load", "commit", "discard") if tasks_of(stack, task, name)]
    return [*table, *rates, *opened, *running]


def databases(stack: Stack) -> Databases:
    """Return the addresses with which a stack was deployed."""
    passwords = json.loads((stack.home / "passwords.json").read_text())
    owner = stack.environment["DATABASE_URL"]
    return Databases(
        owner, make_url(owner).set(username="loader", password=passwords["loader"]).render_as_string(False)
    )


def own_role(stack: Stack) -> str:
    """Return the ARN of a role for state machines of another name than ours; it may do everything.

    gc too may then look at the executions of such machines, which ours alone are by its own policy.
    """
    iam, every = stack.aws("iam"), {"Effect": "Allow", "Resource": "*"}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="another-team", AssumeRolePolicyDocument="{}")
    for role, action in (("another-team", "*"), ("ratesflow-task-gc", "states:DescribeExecution")):
        document = json.dumps({"Version": "2012-10-17", "Statement": [{**every, "Action": action}]})
        iam.put_role_policy(RoleName=role, PolicyName="other-machines", PolicyDocument=document)
    return "arn:aws:iam::123456789012:role/another-team"


def revisions(stack: Stack, name: str) -> dict[str, str]:
    """Return the revision of the job definition of each task that an execution ran."""
    batch = stack.aws("batch")
    queue = stack.environment["RATESFLOW_JOB_QUEUE"]
    found = {}
    for task in ("validate", "load", "commit"):
        named = [{"name": "JOB_NAME", "values": [f"{task}-{name}"]}]
        (job,) = batch.list_jobs(jobQueue=queue, filters=named)["jobSummaryList"]
        (described,) = batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
        found[task] = described["jobDefinition"].rpartition(":")[2]
    return found


class Mailbox:
    """The notifications of a stack, read from the queue that is subscribed to them, kept by batch."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._queue = stack.aws("sqs"), stack.environment["RATESFLOW_NOTIFICATIONS_QUEUE_URL"]
        self._kept: list[dict[str, Any]] = []

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the notifications of a batch so far."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                self._kept.append(json.loads(json.loads(message["Body"])["Message"]))
        return [message for message in self._kept if message["batch_id"] == name]
