"""The building blocks of the state machine: a task, the reading of its result, a notification, their retries."""

from dataclasses import dataclass

from ratesflow.workflow.job_definitions import TASKS
from ratesflow.workflow.sdk import BatchJob, Choice, ChoiceRule, JitteredRetry, Publish, ReadObject, State
from ratesflow.workflow.settings import WorkflowSettings

# Errors of the Batch service itself that may pass. A failed *job* is States.TaskFailed, which is not here:
# Batch has tried it as often as its job definition allows (job_definitions), and attempts would multiply.
BATCH_SERVICE_ERRORS = [
    "Batch.AWSBatchException",
    "Batch.BatchException",
    "Batch.ServerException",
    "Batch.TooManyRequestsException",
    "Batch.SdkClientException",
]

# A call of S3 or SNS is retried after any error: reading, writing the same and notifying twice do no harm.
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


def task_states(settings: WorkflowSettings, task: str) -> TaskStates:
    """Return the states of a task: one Batch job, or two states if the task may run as an array job.

    Batch takes arrays of 2 to 10,000 children only. A batch of one shard therefore runs as a plain job.
    """
    name = state_name(task)
    job = _job(settings, name, task)
    if not TASKS[task].sharded:
        return TaskStates(job, (job,))
    array = _job(settings, f"{name}Shards", task, shards=True)
    choice = Choice(f"{name}InShards?", comment="A large batch runs as an array job, with one child per shard.")
    choice.add_choice(ChoiceRule.NumericLessThanEquals("$.shards", 1), job)
    choice.default_choice(array)
    return TaskStates(choice, (job, array))


def state_name(task: str) -> str:
    """Return the name of the state that runs a task, such as `Load`."""
    return task.capitalize()


def read_result(settings: WorkflowSettings, task: str) -> State:
    """Return the state that reads the result document of a task into `$.TASK.document`."""
    return ReadObject(
        f"Read{state_name(task)}Result",
        comment=f"The result of {task}: outcome, rows, seconds, report, message.",
        parameters={
            "Bucket": settings.bucket,
            "Key.$": states_format(f"{settings.results}/{{}}/{task}.json", EXECUTION_NAME),
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
    """Return a state that publishes its whole input, the notification that an outcome state has made.

    The subject is plain text of at most 100 characters, as SNS requires: see LONGEST_ENVIRONMENT.
    """
    return Publish(
        state_id,
        comment="Sent at least once, always with the same notification_id.",
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
    """Return the retry of a call that failed because of the service, with exponential backoff and full jitter."""
    return JitteredRetry(
        error_equals=errors,
        interval_seconds=settings.first_wait_seconds,
        max_attempts=settings.service_retries,
        backoff_rate=2.0,
        max_delay_seconds=settings.longest_wait_seconds,
        jitter_strategy="FULL",
    )


def outcome_is(task: str, outcome: str) -> ChoiceRule:
    """Return the rule that a task's result has an outcome. Raises ValueError if the task does not declare it."""
    if outcome not in TASKS[task].outcomes:
        raise ValueError(f"The task {task} has no outcome {outcome!r}: it declares {', '.join(TASKS[task].outcomes)}.")
    return ChoiceRule.StringEquals(f"$.{task}.document.outcome", outcome)


def states_format(template: str, *paths: str) -> str:
    """Return the intrinsic function that puts the values at `paths` into the `{}` of a template."""
    return f"States.Format('{template}', {', '.join(paths)})"


def _job(settings: WorkflowSettings, name: str, task: str, shards: bool = False) -> State:
    parameters = {
        "JobName.$": states_format(f"{task}-{{}}", EXECUTION_NAME),
        "JobQueue": settings.job_queue,
        "JobDefinition": settings.jobs[task],
        "Parameters": {
            "bucket.$": "$.bucket",
            "key.$": "$.key",
            "version.$": "$.version",
            "batch_id.$": EXECUTION_NAME,
            "execution.$": "$$.Execution.Id",
            "shards.$": states_format("{}", "$.shards"),
        },
        # For the metric of the wait in the queue (loader/runtime/metrics.py).
        "ContainerOverrides": {
            "Environment": [{"Name": "RATESFLOW_SUBMITTED_AT", "Value.$": "$$.State.EnteredTime"}],
        },
    }
    if shards:
        parameters["ArrayProperties"] = {"Size.$": "$.shards"}
    return BatchJob(
        name,
        comment=f"{TASKS[task].help[0].upper()}{TASKS[task].help[1:]}.",
        parameters=parameters,
        result_path=None,
        timeout_seconds=settings.timeout_seconds(task),
        retry=[service_retry(settings, BATCH_SERVICE_ERRORS)],
    )
