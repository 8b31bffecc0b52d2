"""The state machine of a batch, built with the stepfunctions SDK: read `ingestion_workflow` for the story.

`python -m ratesflow.workflow.definition` writes it to `definition.asl.json`, which Terraform and the embedded stack
deploy. Each task writes a result document; the state after it reads that into `$.validate`, `$.load`,
`$.commit` or `$.discard`, so that a job's description never enters the state. The AWS console thus shows at
every step what the task said: outcome, rows, seconds, message.
"""

import json
from collections.abc import Sequence
from typing import Any

from ratesflow.workflow import outcome_states
from ratesflow.workflow.placeholders import DEFINITION_FILE
from ratesflow.workflow.sdk import Catch, Chain, Choice, FailWithCausePath, Graph, Pass, State, Succeed, WriteObject
from ratesflow.workflow.settings import WorkflowSettings
from ratesflow.workflow.task_states import (
    CALL_ERRORS,
    CALL_SECONDS,
    EXECUTION_NAME,
    formatted,
    plain_task,
    publish,
    read_result,
    says,
    service_retry,
    sharded_task,
)

COMMENT = "One batch of freight prices: all of its rows become visible together, or none do."


def ingestion_workflow(settings: WorkflowSettings | None = None, before_commit: Sequence[State] = ()) -> Graph:
    """Return the state machine; `stepfunctions.workflow.Workflow(definition=…)` takes it as it is.

    Its input is `{bucket, key, version, etag, bytes}` and may hold `shards` (1 when absent) and `redo_of`.
    `before_commit` are steps of your own (states of the SDK, with a result_path that leaves the rest alone).
    They run after the load, when the batch is complete and nobody can see it yet; should one fail, the batch
    is discarded like after any other failure.
    """
    settings = settings or WorkflowSettings()
    validate = sharded_task(settings, "Validate", "Check every row; count and sum the rates; write the report.")
    load = sharded_task(settings, "Load", "Copy the bytes that were validated into staging, unseen.")
    commit = plain_task(settings, "Commit", "One transaction: the moment at which the batch exists.")
    read_validate, read_load, read_commit = (read_result(settings, t) for t in ("validate", "load", "commit"))
    notify = _end_well(settings)
    failure = _failure_path(settings, notify)

    begin = Chain([*_begin(), validate.entry])
    validate.then(read_validate)
    accepted = Choice("Accepted?", comment="A refused batch is an answer, not a failure.")
    read_validate.next(accepted)
    accepted.add_choice(says("validate")("accepted"), load.entry)
    accepted.add_choice(says("validate")("rejected"), Chain([outcome_states.rejected(settings), notify]))
    accepted.add_choice(says("validate")("duplicate"), Chain([outcome_states.duplicate(settings), notify]))
    accepted.default_choice(Chain([outcome_states.unknown_answer("validate"), failure]))

    load.then(read_load)
    Chain([read_load, *before_commit, commit.entry])
    commit.then(read_commit)
    committed = Choice("Committed?", comment="Another batch may have committed the same bytes meanwhile.")
    read_commit.next(committed)
    committed.add_choice(says("commit")("committed"), Chain([outcome_states.committed(settings), notify]))
    committed.add_choice(says("commit")("duplicate"), Chain([outcome_states.duplicate_at_commit(settings), notify]))
    committed.default_choice(Chain([outcome_states.unknown_answer("commit"), failure]))

    reads = (read_validate, read_load, read_commit)
    for state in (*validate.jobs, *load.jobs, *commit.jobs, *reads, *before_commit):
        if state.is_field_allowed("catch"):
            state.add_catch(Catch(error_equals=["States.ALL"], result_path="$.error", next_step=failure))
    return Graph(begin, comment=COMMENT)


def definition_json(graph: Graph) -> str:
    """Return a state machine as an Amazon States Language file: always the same, its states as a story."""
    machine = graph.to_dict()
    machine["States"] = {name: machine["States"][name] for name in _story(machine)}
    return json.dumps(machine, indent=2, ensure_ascii=False) + "\n"


def _begin() -> tuple[State, State]:
    """Return the states that give the input its defaults, so that every path finds what it asks for."""
    blank = Pass("Begin", parameters={"blanks": outcome_states.blanks(), "input.$": "$"})
    merged = Pass(
        "FillIn",
        comment="What the input says goes before the blanks.",
        parameters={"batch.$": "States.JsonMerge($.blanks, $.input, false)"},
        output_path="$.batch",
    )
    return blank, merged


def _end_well(settings: WorkflowSettings) -> State:
    """Return the states of a batch that got an answer, be it a refusal: notify, succeed."""
    subject = formatted("{} {}, {} rows: {}", "$.environment", "$.outcome", "$.rows", "$.batch_id")
    notify = publish(settings, "Notify", subject)
    notify.add_catch(_not_sent("NotificationFailed"))
    notify.next(Succeed("Done", comment="Committed, rejected or duplicate: see outcome."))
    return notify


def _failure_path(settings: WorkflowSettings, notify: State) -> State:
    """Return the states that follow any failure after the start: discard, notify, fail in words.

    Discard asks the ledger, which has the last word: a batch whose commit succeeded although its task did
    not live to say so is committed, and ends as such; if somebody undid it meanwhile, it is undone.
    """
    error_key = formatted(f"{settings.results}/{{}}/error.json", EXECUTION_NAME)
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
    discard = plain_task(settings, "Discard", "Close the ledger row first, then drop what was loaded.")
    read_discard = read_result(settings, "discard")
    settled = Choice("SettledBefore?", comment="What the ledger says stands.")
    not_discarded = outcome_states.not_discarded(settings)
    notify_failed = _end_badly(settings)

    Chain([record, discard.entry, read_discard, settled])
    record.add_catch(Catch(error_equals=["States.ALL"], result_path="$.not_recorded", next_step=discard.entry))
    for state in (*discard.jobs, read_discard):
        state.add_catch(Catch(error_equals=["States.ALL"], result_path="$.not_discarded", next_step=not_discarded))
    before = Chain([outcome_states.settled_before(settings), notify])
    for outcome in ("committed", "duplicate", "rejected", "undone"):
        settled.add_choice(says("discard")(outcome), before)
    settled.default_choice(Chain([outcome_states.failed(settings), notify_failed]))
    not_discarded.next(notify_failed)
    return record


def _end_badly(settings: WorkflowSettings) -> State:
    """Return the states of a batch that failed: notify, fail with the cause in words."""
    notify = publish(settings, "NotifyFailed", formatted("{} FAILED: {}", "$.environment", "$.batch_id"))
    notify.add_catch(_not_sent("FailureNotificationFailed"))
    notify.next(FailWithCausePath("BatchFailed", error="BatchFailed", cause_path="$.message"))
    return notify


def _not_sent(state_id: str) -> Catch:
    """Return the catch of a notification that could not be sent, which changes nothing but how it is told."""
    words = (
        "The outcome of this batch stands: {}. Only its notification could not be sent ({}). "
        "What it would have said: {}"
    )
    cause = formatted(words, "$.outcome", "$.not_sent.Error", "$.message")
    failure = FailWithCausePath(state_id, error="NotificationFailed", cause_path=cause)
    return Catch(error_equals=["States.ALL"], result_path="$.not_sent", next_step=failure)


def _story(machine: dict[str, Any]) -> list[str]:
    """Return the names of the states in the order of a batch that goes well, then the other ways."""
    names: list[str] = []
    ahead = [machine["StartAt"]]  # the last one is the next one; what only an error leads to lies at the bottom
    while ahead:
        name = ahead.pop()
        if name in names:
            continue
        names.append(name)
        state = machine["States"][name]
        ways = [rule["Next"] for rule in state.get("Choices", [])]
        ways += [state[field] for field in ("Default", "Next") if field in state]
        caught = [catch["Next"] for catch in state.get("Catch", [])]
        ahead = [*caught, *ahead, *reversed(ways)]
    return names


if __name__ == "__main__":
    DEFINITION_FILE.write_text(definition_json(ingestion_workflow()), encoding="utf-8")
