"""From the events of an execution to its steps and their summaries."""

import json
from datetime import UTC, datetime, timedelta

from ratesflow.workflow.client.history import answer_of, describe_failure, steps_of, summarize

BEGAN = datetime(2021, 2, 1, 12, tzinfo=UTC)
DOCUMENT = {"schema": "ratesflow.result/1", "outcome": "accepted", "rows": 50_000, "rejected_rows": 0}
JOB = {
    "JobName": "load-x",
    "JobId": "j2",
    "StatusReason": "Essential container in task exited",
    "Container": {"ExitCode": 137, "Reason": "OutOfMemoryError: Container killed due to memory usage"},
    "Attempts": [{}, {}, {}],
}


def history(*events):
    """Events, each a second after the one before: (type, details)."""
    return [
        {
            "id": number,
            "type": kind,
            "timestamp": BEGAN + timedelta(seconds=number),
            f"{detail_name(kind)}EventDetails": details,
        }
        for number, (kind, details) in enumerate(events)
    ]


def detail_name(kind):
    for ending, name in (("StateEntered", "stateEntered"), ("StateExited", "stateExited")):
        if kind.endswith(ending):
            return name
    return kind[0].lower() + kind[1:]


def job_step(name, job_id, *ends):
    yield "TaskStateEntered", {"name": name, "input": "{}"}
    yield "TaskScheduled", {}
    yield "TaskSubmitted", {"output": json.dumps({"JobId": job_id})}
    yield from ends


VALIDATED = [
    *job_step("Validate", "j1", ("TaskSucceeded", {"output": "{}"}), ("TaskStateExited", {"name": "Validate"})),
    ("TaskStateEntered", {"name": "ReadValidateResult"}),
    ("TaskScheduled", {}),
    ("TaskSucceeded", {"output": json.dumps({"Body": json.dumps(DOCUMENT)})}),
    ("TaskStateExited", {"name": "ReadValidateResult"}),
]


def test_steps_have_times_jobs_and_results():
    """A step has its duration, its job, and the document that was read after it."""
    validate, read = steps_of(history(*VALIDATED))
    assert (validate.name, validate.seconds, validate.job_id, validate.status) == ("Validate", 4.0, "j1", "done")
    assert read.result == DOCUMENT


def test_retried_step_counts_its_retries():
    """A repeated call counts as a retry, and its error is dropped once it succeeds."""
    events = [
        ("TaskStateEntered", {"name": "Notify"}),
        ("TaskScheduled", {}),
        ("TaskFailed", {"error": "SNS.Throttled", "cause": "slow down"}),
        ("TaskScheduled", {}),
        ("TaskSucceeded", {"output": "{}"}),
        ("TaskStateExited", {"name": "Notify"}),
    ]
    (step,) = steps_of(history(*events))
    assert (step.retries, step.status, step.error) == (1, "done", None)


def test_failed_job_is_described():
    """The JSON description of a failed job becomes its reason, exit code and attempts."""
    text = describe_failure("States.TaskFailed", json.dumps(JOB))
    assert text == (
        "The job load-x failed: Essential container in task exited, OutOfMemoryError: Container killed due to "
        "memory usage, exit code 137, after 3 attempts."
    )
    assert "wait in the job queue" in describe_failure("States.Timeout", None)
    assert describe_failure("S3.NoSuchKeyException", "no such key") == "S3.NoSuchKeyException: no such key"
    assert describe_failure("Odd", None) == "Odd"


def test_summary_omits_states_that_only_read_and_choose():
    """The summary has the tasks with their results, the failed one with its reason, and the notification."""
    failed = ("TaskFailed", {"error": "States.TaskFailed", "cause": json.dumps(JOB)})
    events = [
        ("PassStateEntered", {"name": "Defaults"}),
        ("PassStateExited", {"name": "Defaults"}),
        *VALIDATED,
        ("ChoiceStateEntered", {"name": "Accepted?"}),
        ("ChoiceStateExited", {"name": "Accepted?"}),
        *job_step("LoadShards", "j2", failed, ("TaskStateExited", {"name": "LoadShards"})),
        ("TaskStateEntered", {"name": "RecordError"}),
        ("TaskStateExited", {"name": "RecordError"}),
        ("TaskStateEntered", {"name": "NotifyFailure"}),
        ("TaskStateExited", {"name": "NotifyFailure"}),
    ]
    found = [(line.name, line.status, line.text[:22]) for line in summarize(steps_of(history(*events)))]
    assert found == [
        ("validate", "done", "accepted, 50,000 rows"),
        ("load", "failed", "The job load-x failed:"),
        ("notify", "done", "sent"),
    ]


def test_task_is_running_until_its_result_is_read():
    """A task counts as running until its document has been read, so that it is printed once, with its result."""
    for length in range(3, len(VALIDATED)):
        (line,) = summarize(steps_of(history(*VALIDATED[:length])))
        assert line.status == "running"
    assert [line.status for line in summarize(steps_of(history(*VALIDATED)))] == ["done"]


def test_answer_of_a_failed_execution_is_the_input_of_its_fail_state():
    """A failed execution has no output; its answer is the input of the state in which it failed."""
    answer = {"outcome": "committed", "rows": 3}
    events = [
        ("FailStateEntered", {"name": "NotificationFailed", "input": json.dumps(answer)}),
        ("ExecutionFailed", {"error": "NotificationFailed", "cause": "words"}),
    ]
    steps = steps_of(history(*events))
    assert answer_of(steps, None) == answer
    assert (steps[0].status, steps[0].error) == ("failed", "NotificationFailed")
    assert answer_of(steps, {"outcome": "rejected"}) == {"outcome": "rejected"}
    assert answer_of([], None) == {}


def test_stopped_execution_aborts_its_last_step():
    """The step at which an execution was stopped or timed out is aborted."""
    (step,) = steps_of(history(*job_step("Load", "j2"), ("ExecutionAborted", {"error": "Stopped"})))
    assert (step.status, step.error) == ("aborted", "Aborted")
