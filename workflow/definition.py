"""The state machine of a batch, built with the stepfunctions SDK: `ingestion_workflow` reads from top to bottom.

`python -m ratesflow.workflow.definition` writes it to `definition.asl.json`, which Terraform and the embedded stack
deploy. Each task writes a result document; the state after it reads that into `$.validate`, `$.load`,
`$.commit` or `$.discard`, so that a job's description never enters the state. The AWS console thus shows the
result of every step: outcome, rows, seconds, message.
"""

import json
from collections.abc import Sequence
from typing import Any

from ratesflow.workflow import outcome_states
from ratesflow.workflow.job_definitions import TASKS
from ratesflow.workflow.placeholders import DEFINITION_FILE
from ratesflow.workflow.sdk import Catch, Chain, Choice, FailWithCausePath, Graph, Pass, State, Succeed, WriteObject
from ratesflow.workflow.settings import WorkflowSettings
from ratesflow.workflow.task_states import (
    CALL_ERRORS,
    CALL_SECONDS,
    EXECUTION_NAME,
    outcome_is,
    publish,
    read_result,
    service_retry,
    states_format,
    task_states,
)

COMMENT = "One batch of freight prices: all of its rows become visible together, or none do."
MAIN_STATES = ("Validate", "Load", "Commit", "Notify")
"""The states that a reader looks for: they come first in the file."""


def ingestion_workflow(settings: WorkflowSettings | None = None, before_commit: Sequence[State] = ()) -> Graph:
    """Return the state machine, which `stepfunctions.workflow.Workflow(definition=…)` accepts.

    Its input is `{bucket, key, version, etag, bytes}` and may hold `shards` (1 by default) and `redo_of`.
    `before_commit` are steps of your own (states of the SDK, with a result_path that preserves the input).
    They run after the load, when the batch is complete but hidden from readers. If one of them fails, the batch
    is discarded, as after any other failure.
    """
    settings = settings or WorkflowSettings()
    validate, load, commit = (task_states(settings, task) for task in outcome_states.STEPS)
    read_validate, read_load, read_commit = (read_result(settings, task) for task in outcome_states.STEPS)
    notify = _success_path(settings)
    failure = _failure_path(settings, notify)

    begin = Chain([*_defaults(), validate.entry])
    validate.then(read_validate)
    accepted = Choice("Accepted?", comment="A rejected batch is an outcome, not a failure.")
    read_validate.next(accepted)
    accepted.add_choice(outcome_is("validate", "accepted"), load.entry)
    accepted.add_choice(outcome_is("validate", "rejected"), Chain([outcome_states.rejected(settings), notify]))
    accepted.add_choice(outcome_is("validate", "duplicate"), Chain([outcome_states.duplicate(settings), notify]))
    accepted.default_choice(Chain([outcome_states.unknown_outcome("validate"), failure]))

    load.then(read_load)
    Chain([read_load, *before_commit, commit.entry])
    commit.then(read_commit)
    committed = Choice("Committed?", comment="Another batch may have committed the same bytes in the meantime.")
    read_commit.next(committed)
    committed.add_choice(outcome_is("commit", "committed"), Chain([outcome_states.committed(settings), notify]))
    duplicate = Chain([outcome_states.duplicate_at_commit(settings), notify])
    committed.add_choice(outcome_is("commit", "duplicate"), duplicate)
    committed.default_choice(Chain([outcome_states.unknown_outcome("commit"), failure]))

    reads = (read_validate, read_load, read_commit)
    for state in (*validate.jobs, *load.jobs, *commit.jobs, *reads, *before_commit):
        if state.is_field_allowed("catch"):
            state.add_catch(Catch(error_equals=["States.ALL"], result_path="$.error", next_step=failure))
    return Graph(begin, comment=COMMENT)


def definition_json(graph: Graph) -> str:
    """Return a state machine as an Amazon States Language file: always the same text, its states in reading order."""
    machine = graph.to_dict()
    names = _reading_order(machine)
    main = [name for name in MAIN_STATES if name in names]
    machine["States"] = {name: machine["States"][name] for name in dict.fromkeys([*main, *names])}
    return json.dumps(machine, indent=2, ensure_ascii=False) + "\n"


def _defaults() -> tuple[State, State]:
    """Return the states that add defaults to the input, so that every path finds the fields that it reads."""
    defaults = Pass(
        "Defaults",
        comment="What an execution has before its first step.",
        parameters={"defaults": outcome_states.defaults(), "input.$": "$"},
    )
    applied = Pass(
        "ApplyDefaults",
        comment="The input overrides the defaults.",
        parameters={"batch.$": "States.JsonMerge($.defaults, $.input, false)"},
        output_path="$.batch",
    )
    return defaults, applied


def _success_path(settings: WorkflowSettings) -> State:
    """Return the states of a batch that ends as committed, rejected or duplicate: notify, succeed."""
    subject = states_format("{} {}, {} rows: {}", "$.environment", "$.outcome", "$.rows", "$.batch_id")
    notify = publish(settings, "Notify", subject)
    notify.add_catch(_not_sent("NotificationFailed"))
    notify.next(Succeed("Done", comment="Committed, rejected or duplicate: see outcome."))
    return notify


def _failure_path(settings: WorkflowSettings, notify: State) -> State:
    """Return the states that follow any failure after the start: discard, notify, fail with the cause.

    Discard asks the ledger, which decides: a batch whose commit succeeded although its task died before it could
    report that is committed, and ends as such; if it was undone in the meantime, it is undone.
    """
    error_key = states_format(f"{settings.results}/{{}}/error.json", EXECUTION_NAME)
    record = WriteObject(
        "RecordError",
        comment="For discard to read; the job's description leaves the state here.",
        parameters={
            "Bucket": settings.bucket,
            "Key.$": error_key,
            "ContentType": "application/json",
            "Body.$": "$.error",
        },
        result_selector={"recorded.$": error_key},
        result_path="$.error",
        timeout_seconds=CALL_SECONDS,
        retry=[service_retry(settings, CALL_ERRORS)],
    )
    discard, read_discard = task_states(settings, "discard"), read_result(settings, "discard")
    closed = Choice("AlreadyClosed?", comment="If the ledger had already closed the batch, that outcome stands.")
    discard_failed = outcome_states.discard_failed(settings)
    notify_failure = _fail(settings)

    Chain([record, discard.entry, read_discard, closed])
    record.add_catch(Catch(error_equals=["States.ALL"], result_path="$.not_recorded", next_step=discard.entry))
    for state in (*discard.jobs, read_discard):
        state.add_catch(Catch(error_equals=["States.ALL"], result_path="$.not_discarded", next_step=discard_failed))
    already_closed = Chain([outcome_states.already_closed(settings), notify])
    for outcome in TASKS["discard"].outcomes:
        if outcome != "discarded":
            closed.add_choice(outcome_is("discard", outcome), already_closed)
    closed.default_choice(Chain([outcome_states.failed(settings), notify_failure]))
    discard_failed.next(notify_failure)
    return record


def _fail(settings: WorkflowSettings) -> State:
    """Return the states of a batch that failed: notify, fail with the cause."""
    notify = publish(settings, "NotifyFailure", states_format("{} FAILED: {}", "$.environment", "$.batch_id"))
    notify.add_catch(_not_sent("FailureNotificationFailed"))
    notify.next(FailWithCausePath("BatchFailed", error="BatchFailed", cause_path="$.message"))
    return notify


def _not_sent(name: str) -> Catch:
    """Return the catch of a notification that could not be sent; the outcome of the batch stays."""
    template = "The outcome of the batch is {}; only its notification could not be sent ({}). Its message: {}"
    cause = states_format(template, "$.outcome", "$.not_sent.Error", "$.message")
    failure = FailWithCausePath(name, error="NotificationFailed", cause_path=cause)
    return Catch(error_equals=["States.ALL"], result_path="$.not_sent", next_step=failure)


def _reading_order(machine: dict[str, Any]) -> list[str]:
    """Return the names of the states: first those of a batch that is committed, then the other paths."""
    names: list[str] = []
    stack = [machine["StartAt"]]  # the last one is the next one; targets of errors lie at the bottom
    while stack:
        name = stack.pop()
        if name in names:
            continue
        names.append(name)
        state = machine["States"][name]
        targets = [rule["Next"] for rule in state.get("Choices", [])]
        targets += [state[field] for field in ("Default", "Next") if field in state]
        caught = [catch["Next"] for catch in state.get("Catch", [])]
        stack = [*caught, *stack, *reversed(targets)]
    return names


if __name__ == "__main__":
    DEFINITION_FILE.write_text(definition_json(ingestion_workflow()), encoding="utf-8")
