"""The graph of an execution, as a pure function of its definition and history."""

import json
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from ratesflow.workflow.client.history import Step
from ratesflow.workflow.diagram.graph import execution_graph, machine_graph, mermaid
from ratesflow.workflow.diagram.svg import svg
from ratesflow.workflow.placeholders import definition_text

DEFINITION = json.loads(definition_text())
BEGAN = datetime(2021, 2, 1, tzinfo=UTC)
ACCEPTED = {"outcome": "accepted", "rows": 50_000, "rejected_rows": 0}
REJECTED = {"outcome": "rejected", "rows": 3000, "rejected_rows": 3}


def step(name, kind="Task", **fields):
    defaults = {"status": "done", "seconds": 1.25, "attempts": 1 if kind == "Task" else 0}
    return Step(name, kind, BEGAN + timedelta(seconds=1), **defaults | fields)


def drawn(*steps, title="t"):
    return execution_graph(DEFINITION, steps, title)


def node(graph, name):
    return next(node for node in graph.nodes if node.name == name)


VALIDATED = (step("Validate", job_id="j1"), step("ReadValidateResult", result=ACCEPTED), step("Accepted?", "Choice"))


def test_machine_has_every_state_and_transition():
    """Every state of the definition is drawn once, and every Next, Default, choice and Catch leads somewhere."""
    graph = machine_graph(DEFINITION)
    assert sorted(node.name for node in graph.nodes) == sorted(DEFINITION["States"])
    ways = {(edge.source, edge.target): edge for edge in graph.edges}
    assert ways["Accepted?", "Rejected"].label == "rejected"
    assert ways["ValidateInShards?", "Validate"].label == "shards ≤ 1"
    assert ways["Load", "RecordError"].caught
    assert len(ways) == len(graph.edges)


def test_committed_path_is_drawn_with_rows_times_and_retries():
    """A state that succeeded is good, with its outcome, time, rows and retries; others are not entered."""
    graph = drawn(*VALIDATED, step("Load", job_id="j2", attempts=3), step("ReadLoadResult", result=ACCEPTED))
    validate, load = node(graph, "Validate"), node(graph, "Load")
    assert (validate.tone, validate.status, validate.notes) == ("good", "accepted", "1.25 s · 50,000 rows")
    assert load.notes.endswith("2 retries")
    assert (node(graph, "Discard").tone, node(graph, "Discard").status) == ("waiting", "not entered")
    assert {(e.source, e.target) for e in graph.edges if e.taken} >= {("Validate", "ReadValidateResult")}


def test_rejected_batch_is_not_a_failure():
    """A rejected batch is drawn as rejected, at validate and at its end, and nothing as failed."""
    answer = step("Rejected", "Pass")
    graph = drawn(
        step("Validate", job_id="j1"),
        step("ReadValidateResult", result=REJECTED),
        answer,
        step("Notify", input=REJECTED),
    )
    assert (node(graph, "Validate").tone, node(graph, "Rejected").tone) == ("rejected", "rejected")
    assert "3 rejected" in node(graph, "Validate").notes
    assert not [one for one in graph.nodes if one.tone == "bad"]


@pytest.mark.parametrize(
    ("status", "tone"), [("failed", "bad"), ("running", "running"), ("aborted", "ended"), ("done", "good")]
)
def test_every_status_has_a_colour_and_a_word(status, tone):
    """The status of a state has a colour and a word, in SVG and in Mermaid."""
    graph = drawn(*VALIDATED, step("Load", status=status, seconds=None if status == "running" else 2.0))
    assert (node(graph, "Load").tone, node(graph, "Load").status) == (tone, status)
    assert f":::{tone}" in mermaid(graph)
    assert f'class="{tone}"' in svg(graph)
    assert status in svg(graph)


def test_catch_is_taken_when_a_step_fails():
    """A failure takes the Catch of the failed step."""
    graph = drawn(step("Load", status="failed", error="States.TaskFailed"), step("RecordError"))
    (edge,) = [edge for edge in graph.edges if edge.taken]
    assert (edge.source, edge.target, edge.caught) == ("Load", "RecordError", True)


def test_odd_names_are_escaped():
    """Names and titles with markup, quotes and control characters are escaped in both formats."""
    odd = "a<b>&\"'|]}; end %% \x01 é"
    machine = {"StartAt": odd, "States": {odd: {"Type": "Pass", "Next": "z"}, "z": {"Type": "Succeed"}}}
    graph = execution_graph(machine, [step(odd, "Pass")], odd)
    root = ElementTree.fromstring(svg(graph))
    assert any("a<b>&" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))
    (line,) = [line for line in mermaid(graph).splitlines() if line.startswith("  s0[")]
    assert not set('<>&"|]}%') & set(line.removeprefix('  s0["').removesuffix('"]:::good').replace("<br>", ""))
    assert "#60;" in line


def test_cycles_and_unknown_states_are_drawn():
    """A machine with a cycle is laid out, and a state that is not in the definition is drawn too."""
    machine = {"StartAt": "a", "States": {"a": {"Type": "Pass", "Next": "b"}, "b": {"Type": "Wait", "Next": "a"}}}
    graph = execution_graph(machine, [step("a", "Pass"), step("gone", "Pass")], "t")
    assert node(graph, "gone").tone == "good"
    assert ElementTree.fromstring(svg(graph)).tag.endswith("svg")


def test_boxes_do_not_overlap():
    """No two states of the real machine overlap, and none is outside the drawing."""
    root = ElementTree.fromstring(svg(machine_graph(DEFINITION)))
    width = float(root.get("width", 0))
    places = [
        (float(text.get("x", 0)), float(text.get("y", 0)))
        for text in root.iter("{http://www.w3.org/2000/svg}text")
        if text.get("class") == "name"
    ]
    assert all(98 < x < width - 98 for x, _ in places)
    for number, (x, y) in enumerate(places):
        assert not [1 for a, b in places[number + 1 :] if b == y and abs(a - x) < 196]
