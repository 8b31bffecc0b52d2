"""The report: what held, how long each step took, the times of batches, what was skipped, what is left."""

import json
from pathlib import Path
from typing import Any

from tests.rehearsal.progress import FAILED, HELD, SCHEMA, SKIPPED, StepResult
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import costs
from tests.rehearsal.stages.flips import UNSAFE
from tests.rehearsal.stages.steps import NAMES
from tests.rehearsal.stages.taking_down import left
from tests.rehearsal.verified import first_lines


def write(stage: Stage, file: Path, end: str, not_taken_away: list[str]) -> None:
    """Write the report as Markdown into `file`, and as JSON beside it. `end` says how the rehearsal ended."""
    document = as_document(stage, end, not_taken_away)
    file.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    file.write_text("\n".join(as_markdown(stage, document)) + "\n", encoding="utf-8")


def as_document(stage: Stage, end: str, not_taken_away: list[str]) -> dict[str, Any]:
    """Return everything that the report says."""
    results = stage.progress.results
    hours = sum(result.seconds for result in results) / 3600
    return {
        "schema": SCHEMA.replace("rehearsal", "rehearsal-report"),
        "end": end,
        "verified_before": first_lines(),
        "workspace": stage.options.workspace,
        "region": stage.options.region,
        "account": stage.progress.values.get("account"),
        "commit": stage.progress.values.get("commit"),
        "counts": {kind: sum(r.outcome == kind for r in results) for kind in (HELD, FAILED, SKIPPED)},
        "steps": [vars(result) for result in results],
        "times": stage.progress.values.get("times", {}),
        "hours": round(hours, 2),
        "dollars_estimated": round(costs.of_rehearsal(stage.variables, hours), 2),
        "not_run": [name for name in NAMES if name not in {result.name for result in results}],
        "not_flipped": UNSAFE,
        "not_taken_away": not_taken_away,
        "left": {act.name: commands for act, commands in left(stage)},
    }


def as_markdown(stage: Stage, document: dict[str, Any]) -> list[str]:
    """Return the lines of the report."""
    counts = document["counts"]
    return [
        *(document["verified_before"]),
        "",
        f"# Rehearsal of {document['workspace']} in {document['region']}: {document['end']}",
        "",
        f"{counts[HELD]} steps held, {counts[FAILED]} did not, {counts[SKIPPED]} were skipped. "
        f"It took {document['hours']:.2f} hours, "
        f"which cost about {document['dollars_estimated']:.2f} US dollars by list prices.",
        "",
        "| step | held | seconds | details |",
        "| --- | --- | --- | --- |",
        *(_row(result) for result in stage.progress.results),
        *(f"| {name} | not run | | |" for name in document["not_run"]),
        *_times(document["times"]),
        *_left(document),
        "",
        "## Not flipped",
        "",
        *(f"- `{name}`: {why}" for name, why in document["not_flipped"].items()),
    ]


def _row(result: StepResult) -> str:
    held = {HELD: "yes", FAILED: "**no**", SKIPPED: "skipped"}[result.outcome]
    words = result.words or "; ".join(_detail(name, value) for name, value in result.details.items())
    return f"| {result.name} | {held} | {result.seconds:.1f} | {words.replace('|', '/').replace(chr(10), ' ')} |"


def _detail(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name}: {', '.join(_detail(*each) for each in value.items()) or 'nothing'}"
    if isinstance(value, list):
        return f"{name}: {', '.join(map(str, value)) or 'none'}"
    return f"{name} {value}"


def _times(times: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, found in times.items():
        lines += ["", f"## From upload to visible: {name}, {found['rows']:,} rows", "", _visible(found), ""]
        lines += ["| step | until the container ran, s | at work, s | in all, s |", "| --- | --- | --- | --- |"]
        for row in found["steps"]:
            container, work = row.get("container", "–"), row.get("work", "–")
            lines.append(f"| {row['step']} | {container} | {work} | {row['seconds']} |")
        jobs = [row for row in found["steps"] if "container" in row]
        sums = (sum(row["container"] for row in jobs), sum(row["work"] for row in jobs))
        lines.append(f"| **sum** | **{sums[0]:.2f}** | **{sums[1]:.2f}** | |")
    return lines


def _visible(found: dict[str, Any]) -> str:
    return (
        f"Visible after {found['upload to visible']} s, its outcome known after {found['upload to outcome']} s, "
        "both from before the upload."
    )


def _left(document: dict[str, Any]) -> list[str]:
    lines = ["", "## Left", ""]
    if not document["left"]:
        return [
            *lines,
            "Nothing that this rehearsal made, but the state bucket and the registry: they are the account's.",
        ]
    lines += [f"- {words}" for words in document["not_taken_away"]]
    for name, commands in document["left"].items():
        lines += ["", f"{name}:", "", "```console", *(f"$ {command}" for command in commands), "```"]
    return lines
