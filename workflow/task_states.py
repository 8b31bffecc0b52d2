"""The building blocks of the state machine: a task, the reading of its result, a notification, their retries."""

from collections.abc import Callable
from dataclasses import dataclass

from ratesflow.workflow.sdk import BatchJob, Choice, ChoiceRule, JitteredRetry, Publish, ReadObject, State
from ratesflow.workflow.settings import WorkflowSettings

# What the Batch service itself may answer for a while. A failed *job* is States.TaskFailed, which is not here:
# Batch has tried it as often as its job definition allows (job_definitions), and attempts would multiply.
BATCH_SERVICE_ERRORS = [
    "Batch.AWSBatchException",
    "Batch.BatchException",
    "Batch.ServerException",
    "Batch.TooManyRequestsException",
    "Batch.SdkClientException",
]

# A call of S3 or SNS is made again whatever it says: reading, writing the same and notifying twice do no harm.
CALL_ERRORS = ["States.TaskFailed", "States.Timeout"]
CALL_SECONDS = 60

EXECUTION_NAME = "$$.Execution.Name"


@dataclass(frozen=True)
class TaskStates:
    """The states of one task: `entry` is the first one, `jobs` are those that submit a job."""

    entry: State
    jobs: tuple[State, ...]

    def then(self, state: State) -> None:
        """Make `state` follow, whichever of the jobs ran."""
        for job in self.jobs:
            job.next(state)


def plain_task(settings: WorkflowSettings, state_id: str, comment: str) -> TaskStates:
    """Return a task that is one Batch job."""
    job = _job(settings, state_id, state_id.lower(), comment)
    return TaskStates(job, (job,))


def sharded_task(settings: WorkflowSettings, state_id: str, comment: str) -> TaskStates:
    """Return a task that is one Batch job, or an array job when the batch has shards.

    Batch takes arrays of 2 to 10,000 children only, hence the two states.
    """
    task = state_id.lower()
    one = _job(settings, state_id, task, comment)
    many = _job(settings, f"{state_id}Shards", task, comment, shards=True)
    choice = Choice(f"{state_id}InShards?", comment="A large batch runs as an array job, one child a shard.")
    choice.add_choice(ChoiceRule.NumericLessThanEquals("$.shards", 1), one)
    choice.default_choice(many)
    return TaskStates(choice, (one, many))


def read_result(settings: WorkflowSettings, task: str) -> State:
    """Return the state that reads the result document of a task into `$.TASK.document`."""
    return ReadObject(
        f"Read{task.capitalize()}",
        comment=f"What {task} says: outcome, rows, seconds, report, message.",
        parameters={
            "Bucket": settings.bucket,
            "Key.$": formatted(f"{settings.results}/{{}}/{task}.json", EXECUTION_NAME),
        },
        result_selector={"document.$": "States.StringToJson($.Body)"},
        result_path=f"$.{task}",
        retry=[
            JitteredRetry(error_equals=["S3.NoSuchKeyException"], max_attempts=0),
            service_retry(settings, CALL_ERRORS),
        ],
        timeout_seconds=CALL_SECONDS,
    )


def publish(settings: WorkflowSettings, state_id: str, subject: str) -> State:
    """Return a state that publishes the whole of its input, which an outcome state has made.

    The subject is plain text with 100 characters at most, as SNS demands: see LONGEST_ENVIRONMENT.
    """
    return Publish(
        state_id,
        comment="At least once; notification_id is the same each time.",
        parameters={
            "TopicArn": settings.topic_arn,
            "Subject.$": subject,
            "Message.$": "States.JsonToString($)",
            "MessageAttributes": {
                "outcome": {"DataType": "String", "StringValue.$": "$.outcome"},
                "environment": {"DataType": "String", "StringValue.$": "$.environment"},
            },
        },
        result_path=None,
        timeout_seconds=CALL_SECONDS,
        retry=[service_retry(settings, CALL_ERRORS)],
    )


def service_retry(settings: WorkflowSettings, errors: list[str]) -> JitteredRetry:
    """Return the retry of a call that failed for a reason of the service, with growing, scattered waits."""
    return JitteredRetry(
        error_equals=errors,
        interval_seconds=settings.first_wait_seconds,
        max_attempts=settings.service_retries,
        backoff_rate=2.0,
        max_delay_seconds=settings.longest_wait_seconds,
        jitter_strategy="FULL",
    )


def says(task: str) -> Callable[[str], ChoiceRule]:
    """Return a maker of rules that ask for the outcome in a task's result document."""
    return lambda outcome: ChoiceRule.StringEquals(f"$.{task}.document.outcome", outcome)


def formatted(template: str, *paths: str) -> str:
    """Return the intrinsic function that puts the values at `paths` into the `{}` of a template."""
    return f"States.Format('{template}', {', '.join(paths)})"


def _job(settings: WorkflowSettings, state_id: str, task: str, comment: str, shards: bool = False) -> State:
    parameters = {
        "JobName.$": formatted(f"{task}-{{}}", EXECUTION_NAME),
        "JobQueue": settings.job_queue,
        "JobDefinition": getattr(settings, f"{task}_job"),
        "Parameters": {
            "bucket.$": "$.bucket",
            "key.$": "$.key",
            "version.$": "$.version",
            "batch_id.$": EXECUTION_NAME,
            "execution.$": "$$.Execution.Id",
            "shards.$": formatted("{}", "$.shards"),
        },
        # From it the task tells how long it waited for a place (loader/tasks/metrics.py).
        "ContainerOverrides": {
            "Environment": [{"Name": "RATESFLOW_SUBMITTED_AT", "Value.$": "$$.State.EnteredTime"}],
        },
    }
    if shards:
        parameters["ArrayProperties"] = {"Size.$": "$.shards"}
    return BatchJob(
        state_id,
        comment=comment,
        parameters=parameters,
        result_path=None,
        timeout_seconds=settings.timeout_seconds(task),
        retry=[service_retry(settings, BATCH_SERVICE_ERRORS)],
    )
