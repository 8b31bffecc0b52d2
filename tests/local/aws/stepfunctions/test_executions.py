"""Executions: their names, history, versions and aliases."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError


def _say(word, **states):
    return {"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Result": word, "End": True}, **states}}


WAIT = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}}


def test_name_is_made_up(machines):
    """An execution without a name gets one of its own."""
    arn = machines.create(_say("hello"))
    first, second = machines.start(arn), machines.start(arn)
    assert first != second
    assert not first.endswith(":None")


def test_bad_name_is_refused(machines):
    """A name with a space is refused."""
    with pytest.raises(ClientError) as refused:
        machines.start(machines.create(_say("hello")), name="two words")
    assert refused.value.response["Error"]["Code"] == "InvalidName"


def test_same_name_starts_once(machines):
    """Twenty starts at once of one name and input start one execution; another input or a later start is refused."""
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


def test_stop_ends_a_wait(machines):
    """Stopping an execution that waits ends it at once."""
    execution = machines.start(machines.create(WAIT))
    machines.client.stop_execution(executionArn=execution)
    ended = machines.client.describe_execution(executionArn=execution)
    assert ended["status"] == "ABORTED"
    assert "error" not in ended


def test_history_by_pages(machines):
    """The history comes in pages of maxResults, in both orders, and the pages make up the whole."""
    execution = machines.run(_say("hello"))["executionArn"]
    whole = [event["id"] for event in machines.history(execution)]
    assert whole == list(range(1, len(whole) + 1))
    for reverse in (False, True):
        pages = machines.client.get_paginator("get_execution_history").paginate(
            executionArn=execution, reverseOrder=reverse, PaginationConfig={"PageSize": 2}
        )
        found = [[event["id"] for event in page["events"]] for page in pages]
        assert [event for page in found for event in page] == sorted(whole, reverse=reverse)
        assert {len(page) for page in found[:-1]} == {2}


def test_last_event_first(machines):
    """The last event is one request away."""
    execution = machines.run(_say("hello"))["executionArn"]
    answer = machines.client.get_execution_history(executionArn=execution, maxResults=1, reverseOrder=True)
    assert [event["type"] for event in answer["events"]] == ["ExecutionSucceeded"]
    with pytest.raises(ClientError) as refused:
        machines.client.get_execution_history(executionArn=execution, nextToken="none")
    assert refused.value.response["Error"]["Code"] == "InvalidToken"


def test_versions_and_alias(machines):
    """A version and an alias start the definition that was published, whatever the machine says since."""
    client = machines.client
    arn = machines.create(_say("one"))
    first = client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
    assert client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"] == first
    routing = [{"stateMachineVersionArn": first, "weight": 100}]
    alias = client.create_state_machine_alias(name="live", routingConfiguration=routing)["stateMachineAliasArn"]
    client.update_state_machine(stateMachineArn=arn, definition=json.dumps(_say("two")))
    second = client.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
    assert (first, second) == (f"{arn}:1", f"{arn}:2")
    said = {by: json.loads(machines.end(machines.start(by))["output"]) for by in (arn, first, second, alias)}
    assert said == {arn: "two", first: "one", second: "two", alias: "one"}

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
    """An execution ends by the definition that it started with, and still shows it."""
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "Next": "Say"}}}
    before = {**wait, "States": wait["States"] | _say("before")["States"]}
    after = {**wait, "States": wait["States"] | _say("after")["States"]}
    arn = machines.create(before)
    execution = machines.start(arn)
    machines.client.update_state_machine(stateMachineArn=arn, definition=json.dumps(after))
    assert json.loads(machines.end(execution)["output"]) == "before"
    machine = machines.client.describe_state_machine_for_execution(executionArn=execution)
    assert json.loads(machine["definition"]) == before


def test_unknown_alias(machines):
    """An alias that does not exist starts nothing."""
    arn = machines.create(_say("hello"))
    with pytest.raises(machines.client.exceptions.StateMachineDoesNotExist):
        machines.start(f"{arn}:{uuid.uuid4().hex}")
