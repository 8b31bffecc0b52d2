"""The report: result and duration of each step, the times of batches, what was skipped, and what remains."""

import json
from pathlib import Path
from typing import Any

from tests.rehearsal.progress import FAILED, PASSED, SCHEMA, SKIPPED, StepResult
from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import costs
from tests.rehearsal.stages.flips import UNSAFE
from tests.rehearsal.stages.steps import NAMES
from tests.rehearsal.stages.taking_down import remaining
from tests.rehearsal.verified import first_lines


def write(stage: Stage, file: Path, end: str, not_removed: list[str]) -> None:
    """Write the report as Markdown to `file`, and as JSON beside it. `end` is how the rehearsal ended."""
    document = as_document(stage, end, not_removed)
    file.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    file.write_text("\n".join(as_markdown(stage, document)) + "\n", encoding="utf-8")


def as_document(stage: Stage, end: str, not_removed: list[str]) -> dict[str, Any]:
    """Return the report as a JSON document."""
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
        "counts": {kind: sum(r.outcome == kind for r in results) for kind in (PASSED, FAILED, SKIPPED)},
        "steps": [vars(result) for result in results],
        "times": stage.progress.values.get("times", {}),
        "hours": round(hours, 2),
        "dollars_estimated": round(costs.of_rehearsal(stage.variables, hours), 2),
        "not_run": [name for name in NAMES if name not in {result.name for result in results}],
        "not_flipped": UNSAFE,
        "not_removed": not_removed,
        "remaining": {act.name: commands for act, commands in remaining(stage)},
    }


def as_markdown(stage: Stage, document: dict[str, Any]) -> list[str]:
    """Return the lines of the Markdown report."""
    counts = document["counts"]
    return [
        *(document["verified_before"]),
        "",
        f"# Rehearsal of {document['workspace']} in {document['region']}: {document['end']}",
        "",
        f"{counts[PASSED]} steps passed, {counts[FAILED]} failed, {counts[SKIPPED]} were skipped. "
        f"It took {document['hours']:.2f} hours, "
        f"which cost about {document['dollars_estimated']:.2f} US dollars by list prices.",
        "",
        "| step | passed | seconds | details |",
        "| --- | --- | --- | --- |",
        *(_row(result) for result in stage.progress.results),
        *(f"| {name} | not run | | |" for name in document["not_run"]),
        *_times(document["times"]),
        *_remaining(document),
        "",
        "## Not flipped",
        "",
        *(f"- `{name}`: {why}" for name, why in document["not_flipped"].items()),
    ]


def _row(result: StepResult) -> str:
    passed = {PASSED: "yes", FAILED: "**no**", SKIPPED: "skipped"}[result.outcome]
    words = result.message or "; ".join(_detail(name, value) for name, value in result.details.items())
    return f"| {result.name} | {passed} | {result.seconds:.1f} | {words.replace('|', '/').replace(chr(10), ' ')} |"


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
        lines += ["| step | until the container ran, s | work, s | total, s |", "| --- | --- | --- | --- |"]
        for row in found["steps"]:
            container, work = row.get("container", "–"), row.get("work", "–")
            lines.append(f"| {row['step']} | {container} | {work} | {row['seconds']} |")
        jobs = [row for row in found["steps"] if "container" in row]
        sums = (sum(row["container"] for row in jobs), sum(row["work"] for row in jobs))
        lines.append(f"| **sum** | **{sums[0]:.2f}** | **{sums[1]:.2f}** | |")
    return lines


def _visible(found: dict[str, Any]) -> str:
    return (
        f"Visible after {found['upload to visible']} s, outcome known after {found['upload to outcome']} s, "
        "both measured from before the upload."
    )


def _remaining(document: dict[str, Any]) -> list[str]:
    lines = ["", "## Remaining", ""]
    if not document["remaining"]:
        return [
            *lines,
            "Nothing of this rehearsal, except the state bucket and the registry, which belong to the account.",
        ]
    lines += [f"- {words}" for words in document["not_removed"]]
    for name, commands in document["remaining"].items():
        lines += ["", f"{name}:", "", "```console", *(f"$ {command}" for command in commands), "```"]
    return lines
