"""The faults that a seeded schedule injects into a stack. Each function returns whether it found a target."""

import json
import random
import signal
from contextlib import suppress

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import ChaosStack
from tests.faults.campaign.contents import Content
from tests.faults.campaign.database_faults import (
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
from tests.faults.campaign.signals import Fault, resume, run_later, send_signal
from tests.faults.campaign.uploads import FORCED
from tests.local.batches.test_fences import start_second_process


def _any_task(chaos: ChaosStack, rng: random.Random) -> psutil.Process | None:
    found = [process for process in chaos.tasks() if process.pid not in chaos.paused]
    return rng.choice(found) if found else None


def kill_task(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGKILL a task at any point."""
    return send_signal(_any_task(chaos, rng), signal.SIGKILL)


def end_task(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGTERM a task, as when a Spot instance is reclaimed."""
    return send_signal(_any_task(chaos, rng), signal.SIGTERM)


def pause_task(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGSTOP a task for a while; in rounds with short timeouts, sometimes beyond the timeout."""
    process = _any_task(chaos, rng)
    if process is None or not send_signal(process, signal.SIGSTOP):
        return False
    chaos.paused.add(process.pid)
    pid = process.pid

    def resume_task() -> None:
        chaos.paused.discard(pid)
        resume(pid)

    run_later(rng.choice([0.5, 1.0, 2.0, 14.0]), resume_task)
    return True


def second_process(chaos: ChaosStack, rng: random.Random) -> bool:
    """Start a second process of a task, as Batch does when it has lost contact with the first."""
    process = _any_task(chaos, rng)
    with suppress(psutil.Error, OSError):
        if process is not None:
            chaos.second_processes.append(start_second_process(chaos.stack, process, RATESFLOW_FAULT_INJECTION=""))
            return True
    return False


def stall_network(chaos: ChaosStack, rng: random.Random) -> bool:
    """Stall the network between tasks and database for a while."""
    chaos.wire.stall()
    run_later(rng.choice([0.5, 1.5, 3.0]), chaos.wire.flow)
    return True


def slow_network(chaos: ChaosStack, rng: random.Random) -> bool:
    """Delay every packet between tasks and database."""
    chaos.wire.delay_seconds = rng.choice([0.02, 0.1])
    run_later(3.0, chaos.wire.flow)
    return True


def cut_network(chaos: ChaosStack, _: random.Random) -> bool:
    """Reset every connection between tasks and database."""
    return chaos.wire.cut() > 0


def s3_errors(chaos: ChaosStack, rng: random.Random) -> bool:
    """Fail some of the tasks' S3 requests with 500 and 503 for a while."""
    chaos.s3.error_share = rng.choice([0.2, 0.5, 0.9])
    run_later(8.0, lambda: setattr(chaos.s3, "error_share", 0.0))
    return True


def s3_cuts(chaos: ChaosStack, rng: random.Random) -> bool:
    """Truncate some bodies from S3 for a while."""
    chaos.s3.cut_share = rng.choice([0.3, 0.7])
    run_later(8.0, lambda: setattr(chaos.s3, "cut_share", 0.0))
    return True


def kill_aws(chaos: ChaosStack, _: random.Random) -> bool:
    """SIGKILL the embedded AWS with its jobs; the stack restarts it and the interrupted executions."""
    chaos.aws_killed = True
    return send_signal(chaos.part("ratesflow.local.aws"), signal.SIGKILL)


def kill_events(chaos: ChaosStack, _: random.Random) -> bool:
    """SIGKILL the process that passes the queue's messages to the handler."""
    return send_signal(chaos.part("ratesflow.local.event_source_mapping"), signal.SIGKILL)


def kill_api_worker(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGKILL one worker of the API, or all of them."""
    api = chaos.part("ratesflow.api")
    with suppress(psutil.Error, IndexError):
        if api is not None:
            workers = api.children()
            for process in workers if rng.random() < 0.3 else [rng.choice(workers)]:
                send_signal(process, signal.SIGKILL)
            return True
    return False


def replace_api_workers(chaos: ChaosStack, _: random.Random) -> bool:
    """Replace every worker of the API, as a deployment does."""
    return send_signal(chaos.part("ratesflow.api"), signal.SIGHUP)


def repeat_events(chaos: ChaosStack, rng: random.Random) -> bool:
    """Send events of objects again: late, several times, in any order."""
    uploads = [each for each in chaos.uploads.values() if each.has_event]
    if not uploads:
        return False
    chosen = [rng.choice(uploads) for _ in range(rng.randint(2, 6))]
    chosen += chosen[:2]
    rng.shuffle(chosen)
    with suppress(BotoCoreError, ClientError):
        for upload in chosen:
            found = {"key": upload.key, "size": len(upload.content.data), "etag": upload.content.etag}
            detail = {"bucket": {"name": chaos.bucket}, "object": {**found, "version-id": upload.version}}
            event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
            queue = chaos.environment["RATESFLOW_QUEUE_URL"]
            chaos.aws("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event))
        return True
    return False


def replace_version(chaos: ChaosStack, rng: random.Random) -> bool:
    """Upload another file with the key of a running batch."""
    running = [each for each in chaos.uploads.values() if each.name not in chaos.settled and not each.gone]
    running = [each for each in running if each.has_event]
    if not running:
        return False
    key = rng.choice(running).key
    chaos.send(Content(len(chaos.contents)), key, force=key.startswith(FORCED))
    return True


def delete_version(chaos: ChaosStack, rng: random.Random) -> bool:
    """Delete the version that a running batch reads.

    The batch must have an execution: SQS would keep the event of an object that is deleted earlier, but the embedded
    queue does not survive a kill.
    """
    running = [each for each in chaos.uploads.values() if each.name not in chaos.settled and not each.gone]
    if not running:
        return False
    upload = rng.choice(running)
    with suppress(BotoCoreError, ClientError):
        chaos.describe(upload.name)
        chaos.aws("s3").delete_object(Bucket=chaos.bucket, Key=upload.key, VersionId=upload.version)
        upload.gone = True
        return True
    return False


def stop_execution(chaos: ChaosStack, rng: random.Random) -> bool:
    """Stop an execution, as in the AWS console, so that none of its later states runs."""
    running = [each for each in chaos.uploads.values() if each.name not in chaos.settled]
    if not running:
        return False
    machine = chaos.environment["RATESFLOW_STATE_MACHINE_ARN"]
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{rng.choice(running).name}"
    with suppress(BotoCoreError, ClientError):
        chaos.aws("stepfunctions").stop_execution(executionArn=arn, error="Injected", cause="stopped by a test")
        return True
    return False


def kill_other_api(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGKILL a worker of the standbys' API."""
    with suppress(psutil.Error, IndexError):
        if chaos.standbys.api:
            return send_signal(rng.choice(psutil.Process(chaos.standbys.api.pid).children()), signal.SIGKILL)
    return False


# The relative frequency of each fault.
WEIGHTS: dict[Fault, int] = {
    kill_task: 14, end_task: 4, pause_task: 10, second_process: 6,
    kill_database: 3, kill_backend: 3, end_sessions: 4,
    stall_network: 6, slow_network: 4, cut_network: 6, s3_errors: 6, s3_cuts: 5,
    kill_aws: 2, kill_events: 2, kill_api_worker: 5, replace_api_workers: 2,
    demote_writer: 5, pause_standby: 5, lag_standby: 5, rotate_logins: 4, analyze: 4, kill_other_api: 3,
    full_disk: 3, repeat_events: 7, replace_version: 3, delete_version: 2, stop_execution: 2,
}  # fmt: skip
