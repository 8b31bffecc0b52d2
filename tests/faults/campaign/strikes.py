"""The strikes: what a seeded schedule does to a stack. Each returns whether there was something to hit."""

import json
import random
import signal
from contextlib import suppress

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import Field
from tests.faults.campaign.contents import Content
from tests.faults.campaign.signals import Strike, hit, later, resume
from tests.faults.campaign.strikes_database import (
    analyze,
    demote_writer,
    end_sessions,
    full_disk,
    kill_backend,
    kill_database,
    lag_standby,
    pause_standby,
    rotate_logins,
)
from tests.faults.campaign.uploads import FORCED
from tests.local.batches.test_fences import twin


def _any_task(field: Field, rng: random.Random) -> psutil.Process | None:
    found = [process for process in field.tasks() if process.pid not in field.paused]
    return rng.choice(found) if found else None


def kill_task(field: Field, rng: random.Random) -> bool:
    """SIGKILL a task, wherever it is."""
    return hit(_any_task(field, rng), signal.SIGKILL)


def end_task(field: Field, rng: random.Random) -> bool:
    """SIGTERM a task, as when a spot machine is taken away."""
    return hit(_any_task(field, rng), signal.SIGTERM)


def pause_task(field: Field, rng: random.Random) -> bool:
    """SIGSTOP a task for a while; in the rounds with a limit, sometimes past it."""
    process = _any_task(field, rng)
    if process is None or not hit(process, signal.SIGSTOP):
        return False
    field.paused.add(process.pid)
    pid = process.pid

    def go_on() -> None:
        field.paused.discard(pid)
        resume(pid)

    later(rng.choice([0.5, 1.0, 2.0, 14.0]), go_on)
    return True


def second_process(field: Field, rng: random.Random) -> bool:
    """Start a second process of a task, as Batch does when it has lost sight of the first."""
    process = _any_task(field, rng)
    with suppress(psutil.Error, OSError):
        if process is not None:
            field.twins.append(twin(process, RATESFLOW_FAULT_INJECTION=""))
            return True
    return False


def stall_network(field: Field, rng: random.Random) -> bool:
    """Nothing passes between tasks and database for a while."""
    field.wire.stall()
    later(rng.choice([0.5, 1.5, 3.0]), field.wire.flow)
    return True


def slow_network(field: Field, rng: random.Random) -> bool:
    """Every packet between tasks and database comes late."""
    field.wire.delay_seconds = rng.choice([0.02, 0.1])
    later(3.0, field.wire.flow)
    return True


def cut_network(field: Field, _: random.Random) -> bool:
    """Reset every connection between tasks and database."""
    return field.wire.cut() > 0


def s3_errors(field: Field, rng: random.Random) -> bool:
    """S3 answers 500 and 503 to some of the tasks' requests for a while."""
    field.s3.error_share = rng.choice([0.2, 0.5, 0.9])
    later(8.0, lambda: setattr(field.s3, "error_share", 0.0))
    return True


def s3_cuts(field: Field, rng: random.Random) -> bool:
    """Bodies from S3 break off in the middle for a while."""
    field.s3.cut_share = rng.choice([0.3, 0.7])
    later(8.0, lambda: setattr(field.s3, "cut_share", 0.0))
    return True


def kill_aws(field: Field, _: random.Random) -> bool:
    """SIGKILL the embedded AWS, jobs and all; the stack starts it again and takes up what was under way."""
    field.aws_killed = True
    return hit(field.part("ratesflow.local.aws"), signal.SIGKILL)


def kill_events(field: Field, _: random.Random) -> bool:
    """SIGKILL what hands the queue's messages to the handler."""
    return hit(field.part("ratesflow.local.event_source_mapping"), signal.SIGKILL)


def kill_api_worker(field: Field, rng: random.Random) -> bool:
    """SIGKILL one worker of the API, or all of them."""
    api = field.part("api")
    with suppress(psutil.Error, IndexError):
        if api is not None:
            workers = api.children()
            for process in workers if rng.random() < 0.3 else [rng.choice(workers)]:
                hit(process, signal.SIGKILL)
            return True
    return False


def replace_api_workers(field: Field, _: random.Random) -> bool:
    """Replace every worker of the API, as a deployment does."""
    return hit(field.part("api"), signal.SIGHUP)


def repeat_events(field: Field, rng: random.Random) -> bool:
    """Send events of objects again: late, several times, in any order."""
    known = [each for each in field.uploads.values() if each.arrived]
    if not known:
        return False
    chosen = [rng.choice(known) for _ in range(rng.randint(2, 6))]
    chosen += chosen[:2]
    rng.shuffle(chosen)
    with suppress(BotoCoreError, ClientError):
        for upload in chosen:
            found = {"key": upload.key, "size": len(upload.content.data), "etag": upload.content.etag}
            detail = {"bucket": {"name": field.bucket}, "object": {**found, "version-id": upload.version}}
            event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
            queue = field.environment["RATESFLOW_QUEUE_URL"]
            field.aws("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event))
        return True
    return False


def replace_version(field: Field, rng: random.Random) -> bool:
    """Send another file under the key of a batch that is under way."""
    under_way = [each for each in field.uploads.values() if each.name not in field.settled and not each.gone]
    under_way = [each for each in under_way if each.arrived]
    if not under_way:
        return False
    key = rng.choice(under_way).key
    field.send(Content(len(field.contents)), key, force=key.startswith(FORCED))
    return True


def delete_version(field: Field, rng: random.Random) -> bool:
    """Delete the very version that a batch under way reads.

    It must have an execution: SQS keeps the event of an object that is deleted before, but the embedded queue does
    not outlive a kill, after which nothing would know of it.
    """
    under_way = [each for each in field.uploads.values() if each.name not in field.settled and not each.gone]
    if not under_way:
        return False
    upload = rng.choice(under_way)
    with suppress(BotoCoreError, ClientError):
        field.describe(upload.name)
        field.aws("s3").delete_object(Bucket=field.bucket, Key=upload.key, VersionId=upload.version)
        upload.gone = True
        return True
    return False


def stop_execution(field: Field, rng: random.Random) -> bool:
    """Stop an execution as anybody may in the AWS console: no state of it runs any more."""
    under_way = [each for each in field.uploads.values() if each.name not in field.settled]
    if not under_way:
        return False
    machine = field.environment["RATESFLOW_STATE_MACHINE_ARN"]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{rng.choice(under_way).name}"
    with suppress(BotoCoreError, ClientError):
        field.aws("stepfunctions").stop_execution(executionArn=arn, error="Struck", cause="from outside")
        return True
    return False


def kill_other_api(field: Field, rng: random.Random) -> bool:
    """SIGKILL a worker of the API that reads from the standbys."""
    with suppress(psutil.Error, IndexError):
        if field.standbys.api:
            return hit(rng.choice(psutil.Process(field.standbys.api.pid).children()), signal.SIGKILL)
    return False


# How often each is chosen, relative to the others.
WEIGHTS: dict[Strike, int] = {
    kill_task: 14, end_task: 4, pause_task: 10, second_process: 6,
    kill_database: 3, kill_backend: 3, end_sessions: 4,
    stall_network: 6, slow_network: 4, cut_network: 6, s3_errors: 6, s3_cuts: 5,
    kill_aws: 2, kill_events: 2, kill_api_worker: 5, replace_api_workers: 2,
    demote_writer: 5, pause_standby: 5, lag_standby: 5, rotate_logins: 4, analyze: 4, kill_other_api: 3,
    full_disk: 3, repeat_events: 7, replace_version: 3, delete_version: 2, stop_execution: 2,
}  # fmt: skip
