"""The state machine as a graph, and an execution on it: a pure function of definition and history."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ratesflow.workflow.client.history import Step, format_seconds

TONES = ("waiting", "running", "good", "rejected", "bad", "ended")
"""The colour of a state: not entered, running, done, rejected the batch, failed, stopped from outside."""

_TONE_OF_STATUS = {"running": "running", "done": "good", "failed": "bad", "aborted": "ended"}
_TONE_OF_OUTCOME = {"rejected": "rejected", "duplicate": "rejected", "undone": "rejected", "failed": "bad"}


@dataclass(frozen=True)
class Node:
    """One state, and in an execution its status and a line of notes."""

    name: str
    kind: str
    comment: str = ""
    tone: str = "waiting"
    status: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Edge:
    """A transition between two states; `caught` follows an error, `taken` is part of an execution."""

    source: str
    target: str
    label: str = ""
    caught: bool = False
    taken: bool = False


@dataclass(frozen=True)
class Graph:
    """States in the order of the definition, and the transitions between them."""

    title: str
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    is_execution: bool = False


def machine_graph(definition: Mapping[str, Any]) -> Graph:
    """Return the graph of a state machine, given in the Amazon States Language."""
    states: Mapping[str, Any] = definition["States"]
    order = _reached(definition["StartAt"], states)
    nodes = [Node(name, states[name]["Type"], states[name].get("Comment", "")) for name in order]
    edges: dict[tuple[str, str], Edge] = {}
    for name in order:
        for edge in _edges(name, states[name]):
            before = edges.get((edge.source, edge.target))
            if before is None:
                edges[edge.source, edge.target] = edge
            elif edge.label and edge.label not in before.label:
                label = " or ".join(part for part in (before.label, edge.label) if part)
                edges[edge.source, edge.target] = replace(before, label=label)
    return Graph(str(definition.get("Comment") or "The state machine"), nodes, list(edges.values()))


def execution_graph(definition: Mapping[str, Any], steps: Sequence[Step], title: str) -> Graph:
    """Return the graph of an execution: the machine with what happened in each state that it entered.

    A state that is not in the definition, because the definition has changed, is drawn too.
    """
    machine = machine_graph(definition)
    last = {step.name: place for place, step in enumerate(steps)}
    nodes = [_with_step(node, steps, last[node.name]) if node.name in last else node for node in machine.nodes]
    nodes = [node if node.status else replace(node, status="not entered") for node in nodes]
    defined = {node.name for node in nodes}
    added = [name for name in last if name not in defined]
    nodes += [_with_step(Node(name, steps[last[name]].kind), steps, last[name]) for name in added]
    taken = {(one.name, two.name) for one, two in itertools.pairwise(steps)}
    edges = [replace(edge, taken=(edge.source, edge.target) in taken) for edge in machine.edges]
    drawn = {(edge.source, edge.target) for edge in edges}
    edges += [Edge(one, two, taken=True) for one, two in sorted(taken - drawn)]
    return Graph(title, nodes, edges, is_execution=True)


def mermaid(graph: Graph) -> str:
    """Return a graph as Mermaid text, which GitHub, GitLab and many editors render."""
    ids = {node.name: f"s{number}" for number, node in enumerate(graph.nodes)}
    lines = ["---", f"title: {_mermaid_title(graph.title)}", "---", "flowchart TD"]
    for node in graph.nodes:
        text = "<br>".join(_mermaid_text(part) for part in (node.name, *node_lines(node)))
        shape = '{{"%s"}}' if node.kind == "Choice" else '(["%s"])' if node.kind in ("Succeed", "Fail") else '["%s"]'
        style = f":::{node.tone}" if graph.is_execution else ""
        lines.append(f"  {ids[node.name]}{shape % text}{style}")
    for edge in graph.edges:
        arrow = "==>" if edge.taken else "-.->" if edge.caught else "-->"
        label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
        lines.append(f"  {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    if graph.is_execution:
        lines += [f"  classDef {tone} {style}" for tone, style in _MERMAID_STYLES.items()]
    return "\n".join(lines) + "\n"


def node_lines(node: Node) -> list[str]:
    """Return the lines under the name of a state: its status and notes, if it was entered."""
    if node.status in ("", "not entered"):
        return []
    return [" · ".join(part for part in (node.status, node.notes) if part)]


_MERMAID_STYLES = {
    "waiting": "fill:#f4f4f5,stroke:#a1a1aa,color:#52525b",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "good": "fill:#dcfce7,stroke:#16a34a,color:#14532d",
    "rejected": "fill:#fef3c7,stroke:#d97706,color:#78350f",
    "bad": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "ended": "fill:#f3e8ff,stroke:#9333ea,color:#581c87",
}


def _reached(start: str, states: Mapping[str, Any]) -> list[str]:
    """Return the states in breadth-first order, those without a predecessor last."""
    order: list[str] = []
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        if name in order or name not in states:
            continue
        order.append(name)
        waiting += [edge.target for edge in _edges(name, states[name])]
    return order + [name for name in states if name not in order]


def _edges(name: str, state: Mapping[str, Any]) -> list[Edge]:
    found = [Edge(name, choice["Next"], _condition(choice)) for choice in state.get("Choices", [])]
    if "Default" in state:
        found.append(Edge(name, state["Default"], "otherwise"))
    if "Next" in state:
        found.append(Edge(name, state["Next"]))
    return found + [Edge(name, catch["Next"], "error", caught=True) for catch in state.get("Catch", [])]


_SIGNS = {"LessThanEquals": "≤", "GreaterThanEquals": "≥", "LessThan": "<", "GreaterThan": ">"}


def _condition(choice: Mapping[str, Any]) -> str:
    """Return the condition of a choice in short: the expected value, or a comparison."""
    if "Variable" not in choice:
        return ""
    variable = str(choice["Variable"]).rsplit(".", 1)[-1]
    test, value = next(((k, v) for k, v in choice.items() if k not in ("Variable", "Next", "Comment")), ("", ""))
    if test == "StringEquals":
        return str(value)
    sign = next((sign for ending, sign in _SIGNS.items() if test.endswith(ending)), test)
    return f"{variable} {sign} {value}"


def _with_step(node: Node, steps: Sequence[Step], place: int) -> Node:
    step, after = steps[place], steps[place + 1 :]
    document = _document(step, after)
    outcome = str(document.get("outcome", "")) or _outcome_set(step, after)
    tone = _TONE_OF_STATUS.get(step.status, "ended")
    if tone == "good":
        tone = _TONE_OF_OUTCOME.get(outcome, "good")
    status = outcome if step.status == "done" and outcome else step.status
    return replace(node, tone=tone, status=status, notes=" · ".join(_notes(step, document)))


def _notes(step: Step, document: Mapping[str, Any]) -> Iterable[str]:
    if step.seconds is not None and (step.kind == "Task" or step.status != "done"):
        yield format_seconds(step.seconds)
    if step.kind == "Task" and document.get("rows") is not None:
        yield f"{document['rows']:,} rows"
    if document.get("rejected_rows"):
        yield f"{document['rejected_rows']:,} rejected"
    if step.retries:
        yield "1 retry" if step.retries == 1 else f"{step.retries} retries"


def _document(step: Step, after: Sequence[Step]) -> Mapping[str, Any]:
    """Return the result document of a job, which the next step has read."""
    found = after[0].result if step.job_id and step.status == "done" and after else None
    return found or {}


def _outcome_set(step: Step, after: Sequence[Step]) -> str:
    """Return the outcome that a state has set: the next state has it in its input."""
    outcome = after[0].input.get("outcome") if step.kind == "Pass" and after else None
    return outcome if isinstance(outcome, str) and step.input.get("outcome") != outcome else ""


def _mermaid_text(text: str) -> str:
    """Return a text escaped for Mermaid, with entities for special characters."""
    return "".join(
        character if character.isalnum() or character in " .,:·?-_/≤≥" else f"#{ord(character)};"
        for character in " ".join(text.split())
    )


def _mermaid_title(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'
