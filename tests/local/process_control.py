"""Controls running batches from tests: finds their tasks, sends signals to them, and reads their outcomes."""

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import make_url

from ratesflow.local.deploy import Databases
from tests.local.conftest import Stack
from tests.waiting import wait_for


def command_of(process: psutil.Process) -> list[str]:
    """Return the command of a process, or of a task the title that it gave itself."""
    parts = [part for part in process.cmdline() if part]
    return parts[0].split(" ") if len(parts) == 1 else parts


def tasks_of(stack: Stack, task: str, batch: str) -> list[psutil.Process]:
    """Return the processes that run a task in a stack for batches whose name starts with `batch`.

    Other stacks on this machine, such as those of parallel tests, may have batches with the same name.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it may have ended meanwhile
            if _is(process, command_of(process), stack.home, task, batch):
                found.append(process)
    return found


def _is(process: psutil.Process, command: list[str], home: Path, task: str, batch: str) -> bool:
    return runs(command, task, batch) and any(str(home / "aws") in parent.cmdline() for parent in process.parents())


def runs(command: list[str], task: str, batch: str) -> bool:
    """Return whether a command is a task of a batch."""
    return command[1:5] == ["-P", "-m", "ratesflow.loader", task] and any(part.startswith(batch) for part in command)


def record_of(stack: Stack, process: psutil.Process) -> Any:
    """Return the embedded AWS's record of a job's process; None while there is none."""
    for path in (stack.home / "aws" / "jobs").glob("*.json"):
        record = json.loads(path.read_text())
        if record["pid"] == process.pid and record["ended_at"] is None:
            return record
    return None


def signal_to(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those of the processes that still exist."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def send(stack: Stack, path: Path, data: bytes, name: str) -> str:
    """Upload a file, and return the name of the execution that its event starts."""
    from ratesflow.workflow.trigger import execution_name

    path = path / f"{name}.csv"
    path.write_bytes(data)
    bucket, key = stack.environment["RATESFLOW_BUCKET"], f"incoming/{path.name}"
    with path.open("rb") as body:
        version = stack.aws("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    return execution_name(bucket, key, version)


def start(stack: Stack, data: bytes, name: str, shards: int, machine: str | None = None, *, gone: bool = False) -> str:
    """Start an execution for a file that the trigger ignores, or, with `gone`, that does not exist; return its name."""
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
    """Wait until an execution has ended, and return its description."""

    def over() -> Any:
        found = stack.execution(name, machine)
        return found if found and found["status"] != "RUNNING" else None

    return wait_for(over, seconds, 0.1)


def state(stack: Stack, name: str) -> tuple[str, str | None]:
    """Return the state and the message of a batch in the ledger."""
    ((found, message),) = stack.query("SELECT state, message FROM batches WHERE batch_id = %s", name)
    return found, message


def leftovers(stack: Stack, name: str) -> list[Any]:
    """Return what remains of a batch that was not committed: tables, rates and processes; normally nothing."""
    ((number,),) = stack.query("SELECT batch_no FROM batches WHERE batch_id = %s", name)
    table = stack.query("SELECT relname FROM pg_class WHERE relname = %s", f"staging_{number}")
    rates = stack.query("SELECT 1 FROM rates WHERE batch_no = %s LIMIT 1", number)
    opened = stack.query("SELECT 1 FROM visible_batches WHERE batch_no = %s", number)
    running = [task for task in ("validate", "load", "commit", "discard") if tasks_of(stack, task, name)]
    return [*table, *rates, *opened, *running]


def databases(stack: Stack) -> Databases:
    """Return the database URLs with which a stack was deployed."""
    passwords = json.loads((stack.home / "passwords.json").read_text())
    owner = stack.environment["DATABASE_URL"]
    return Databases(
        owner, make_url(owner).set(username="loader", password=passwords["loader"]).render_as_string(False)
    )


def own_role(stack: Stack) -> str:
    """Return the ARN of a role that allows everything, for state machines with other names than the stack's.

    This also lets gc describe the executions of such machines, for which its own policy gives no permission.
    """
    iam, every = stack.aws("iam"), {"Effect": "Allow", "Resource": "*"}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="another-team", AssumeRolePolicyDocument="{}")
    for role, action in (("another-team", "*"), ("ratesflow-task-gc", "states:DescribeExecution")):
        document = json.dumps({"Version": "2012-10-17", "Statement": [{**every, "Action": action}]})
        iam.put_role_policy(RoleName=role, PolicyName="other-machines", PolicyDocument=document)
    return "arn:aws:iam::123456789012:role/another-team"


def revisions(stack: Stack, name: str) -> dict[str, str]:
    """Return the revision of the job definition that an execution used, by task."""
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
    """The notifications of a stack, read from the queue that is subscribed to them."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._queue = stack.aws("sqs"), stack.environment["RATESFLOW_NOTIFICATIONS_QUEUE_URL"]
        self._messages: list[dict[str, Any]] = []

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the notifications of a batch so far."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                self._messages.append(json.loads(json.loads(message["Body"])["Message"]))
        return [message for message in self._messages if message["batch_id"] == name]
