"""Executions: their names, history, versions and aliases."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import ExecutionStatus

from ratesflow.local.aws.stepfunctions import executions


def _result(word, **states):
    return {"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Result": word, "End": True}, **states}}


WAIT = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}}


def test_execution_gets_a_default_name(machines):
    """An execution that is started without a name gets a unique one."""
    arn = machines.create(_result("hello"))
    first, second = machines.start(arn), machines.start(arn)
    assert first != second
    assert not first.endswith(":None")


def test_invalid_name_is_rejected(machines):
    """A name with a space is rejected."""
    with pytest.raises(ClientError) as rejected:
        machines.start(machines.create(_result("hello")), name="two words")
    assert rejected.value.response["Error"]["Code"] == "InvalidName"


def test_same_name_starts_once(machines):
    """Twenty parallel starts with one name and input start one execution; another input or a later start fails."""
    arn = machines.create(WAIT)
    with ThreadPoolExecutor(8) as pool:
        started = set(pool.map(lambda _: machines.start(arn, {"a": 1}, name="same"), range(20)))
    assert len(started) == 1
    assert len(machines.client.list_executions(stateMachineArn=arn)["executions"]) == 1
    with pytest.raises(machines.client.exceptions.ExecutionAlreadyExists):
        machines.start(arn, {"a": 2}, name="same")
    machines.client.stop_execution(executionArn=started.pop())
    with pytest.raises(machines.client.exceptions.ExecutionAlreadyExists):
        machines.start(arn, {"a": 1}, name="same")


def test_stop_ends_a_waiting_execution(machines):
    """Stopping an execution in a Wait state ends it at once."""
    execution = machines.start(machines.create(WAIT))
    machines.client.stop_execution(executionArn=execution)
    ended = machines.client.describe_execution(executionArn=execution)
    assert ended["status"] == "ABORTED"
    assert "error" not in ended


def test_history_is_paginated(machines):
    """The pages of maxResults events together are the whole history, in both orders."""
    execution = machines.run(_result("hello"))["executionArn"]
    whole = [event["id"] for event in machines.history(execution)]
    assert whole == list(range(1, len(whole) + 1))
    for reverse in (False, True):
        pages = machines.client.get_paginator("get_execution_history").paginate(
            executionArn=execution, reverseOrder=reverse, PaginationConfig={"PageSize": 2}
        )
        found = [[event["id"] for event in page["events"]] for page in pages]
        assert [event for page in found for event in page] == sorted(whole, reverse=reverse)
        assert {len(page) for page in found[:-1]} == {2}


def test_history_in_reverse_order(machines):
    """Reverse order returns the last event first; an invalid token is rejected."""
    execution = machines.run(_result("hello"))["executionArn"]
    answer = machines.client.get_execution_history(executionArn=execution, maxResults=1, reverseOrder=True)
    assert [event["type"] for event in answer["events"]] == ["ExecutionSucceeded"]
    with pytest.raises(ClientError) as rejected:
        machines.client.get_execution_history(executionArn=execution, nextToken="none")
    assert rejected.value.response["Error"]["Code"] == "InvalidToken"


def test_versions_and_alias(machines):
    """A version and an alias start the published definition, even after the machine was updated."""
    client = machines.client
    arn = machines.create(_result("one"))
    first = client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
    assert client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"] == first
    routing = [{"stateMachineVersionArn": first, "weight": 100}]
    alias = client.create_state_machine_alias(name="live", routingConfiguration=routing)["stateMachineAliasArn"]
    client.update_state_machine(stateMachineArn=arn, definition=json.dumps(_result("two")))
    second = client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
    assert (first, second) == (f"{arn}:1", f"{arn}:2")
    outputs = {by: json.loads(machines.end(machines.start(by))["output"]) for by in (arn, first, second, alias)}
    assert outputs == {arn: "two", first: "one", second: "two", alias: "one"}

    routing = [{"stateMachineVersionArn": second, "weight": 100}]
    client.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=routing)
    ended = machines.end(machines.start(alias))
    assert json.loads(ended["output"]) == "two"
    assert (ended["stateMachineArn"], ended["stateMachineVersionArn"]) == (arn, second)
    assert ended["stateMachineAliasArn"] == alias
    listed = client.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in listed] == [second, first]
    assert len(client.list_executions(stateMachineArn=arn)["executions"]) == 5
    assert len(client.list_executions(stateMachineArn=alias)["executions"]) == 2
    assert len(client.list_executions(stateMachineArn=first)["executions"]) == 2


def test_running_execution_keeps_its_definition(machines):
    """An execution keeps the definition that it started with, and describes it."""
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "Next": "Say"}}}
    before = {**wait, "States": wait["States"] | _result("before")["States"]}
    after = {**wait, "States": wait["States"] | _result("after")["States"]}
    arn = machines.create(before)
    execution = machines.start(arn)
    machines.client.update_state_machine(stateMachineArn=arn, definition=json.dumps(after))
    assert json.loads(machines.end(execution)["output"]) == "before"
    machine = machines.client.describe_state_machine_for_execution(executionArn=execution)
    assert json.loads(machine["definition"]) == before


def test_unknown_alias_starts_nothing(machines):
    """An alias that does not exist starts nothing."""
    arn = machines.create(_result("hello"))
    with pytest.raises(machines.client.exceptions.StateMachineDoesNotExist):
        machines.start(f"{arn}:{uuid.uuid4().hex}")


def test_ending_is_described_whole(monkeypatch):
    """A description during an execution's end waits for it: moto sets SUCCEEDED before it sets the output."""
    monkeypatch.setattr(executions, "_write_record", lambda _: None)
    half_ended, continues = threading.Event(), threading.Event()

    def end_slowly(worker):
        worker.execution.exec_status = worker.execution.status = ExecutionStatus.SUCCEEDED
        half_ended.set()
        assert continues.wait(10)
        worker.execution.output = {"prices": 2}

    execution = MagicMock(exec_status=ExecutionStatus.RUNNING, output=None)
    with ThreadPoolExecutor(2) as pool:
        end = pool.submit(executions._keep_first_end(end_slowly), SimpleNamespace(execution=execution))
        assert half_ended.wait(10)
        described = pool.submit(executions._description, execution)
        assert not wait([described], timeout=0.2).done
        continues.set()
        assert described.result(10)["output"] == '{"prices":2}'
        end.result(10)
