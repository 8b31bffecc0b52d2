"""The results as a page in Markdown, from `latest.json` only: a partial run updates only its own measures."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS
from benchmarks.results import FOLDER, Measure, replace

PAGE = FOLDER / "results.md"
Results = Mapping[str, Mapping[str, Any]]

METHODS = {
    "bare_copy": "`\\copy` into an unlogged table without index: the minimum",
    "logged_copy": "`\\copy` into a logged table without index",
    "indexed_copy": "`\\copy` into a logged table with one index (orig, dest, day)",
    "first_schema": "`\\copy` into the first version's schema (two foreign keys)",
    "to_sql": "pandas `to_sql`, multi",
    "dlt": "dlt, append, Arrow source, no checks (`pipeline.run`, warm)",
    "dlt_process": "the same, as a new process",
    "work": "**ratesflow, warm process: validate, load, commit**",
    "work_validate": "… validate",
    "work_load": "… load",
    "work_commit": "… commit",
    "whole": "**ratesflow, three new processes**",
    "whole_validate": "… validate",
    "whole_load": "… load",
    "whole_commit": "… commit",
}
_NOTE = """\
Medians, with the lowest and the highest round in brackets. The methods take turns within each round, on a PostgreSQL
server with the settings of `ratesflow up`, fsync on. ratesflow reads each batch from the embedded S3, which runs on
the same cores. The batches are generated from a seed: 4,000 lanes with several prices for each lane and day, ordered
by day, with the lanes mixed within a day.

These figures do not include what AWS adds, which was not measured. An estimate: a Fargate job is provisioned "in
about 30 seconds" ([AWS Batch User Guide](https://docs.aws.amazon.com/batch/latest/userguide/when-to-use-fargate.html)),
and validate, load and commit are three jobs in sequence: about a minute and a half per batch, whatever its size, and
less on EC2 instances that already run.
"""


def write(results: Results, path: Path = PAGE) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, page(results))


def page(results: Results) -> str:
    """Return the page."""
    parts = ["# Benchmark results", "", "Written by `make bench`; do not edit.", "", _goals(results), _loading(results)]
    shown = {goal.name for goal in GOALS} | {name for name in results if _loading_part(name)}
    rest = {name: each for name, each in results.items() if name not in shown}
    for title, prefixes in SECTIONS.items():
        mine = {name: each for name, each in rest.items() if name.startswith(prefixes)}
        parts.append(_section(title, mine))
        rest = {name: each for name, each in rest.items() if name not in mine}
    parts += [_section("Other measures", rest), "## Method, machines and versions", "", _NOTE, *_where(results), ""]
    return "\n".join(part for part in parts if part is not None)


SECTIONS: dict[str, tuple[str, ...]] = {
    "Commit": ("commit_",),
    "Memory": ("peak_",),
    "Shards": ("shards_", "two_", "four_"),
    "Reads during other work": ("reader_",),
    "Reads after many batches": ("read_", "compact_", "batches_"),
    "The embedded stack": ("start_",),
    "The API": ("api_", "region_"),
}


def lines(measured: Mapping[str, Measure]) -> str:
    """Return the measures of one part for the terminal, one per line."""
    width = max(map(len, measured), default=0)
    return "\n".join(
        f"{name:<{width}}  {_number(each.value):>9}   "
        f"({_number(each.low)} to {_number(each.high)}; {each.rounds} rounds)"
        for name, each in measured.items()
    )


def _goals(results: Results) -> str:
    rows = []
    for goal in GOALS:
        found = results.get(goal.name)
        value = f"{_range(found)}{goal.unit}" if found else "not measured"
        met = ("yes" if goal.met(found["value"]) else "**no**") if found else ""
        rows.append((goal.description, goal.target, value, met, f"`{goal.name}`"))
    return _table(("measure", "goal", "result", "met", "name"), rows)


def _loading_part(name: str) -> re.Match[str] | None:
    return re.fullmatch(rf"load_([0-9]+[km]?)_({'|'.join(METHODS)})_s", name)


def _loading(results: Results) -> str:
    sizes = sorted({match[1] for name in results if (match := _loading_part(name))}, key=_rows)
    rows = []
    for method, label in METHODS.items():
        found = [results.get(f"load_{size}_{method}_s") for size in sizes]
        if any(found):
            rows.append((label, *(_range(each) if each else "" for each in found)))
    titles = [f"{_rows(size):,} rows" for size in sizes]
    return "## Loading, in seconds\n\n" + _table(("method", *titles), rows) if rows else ""


def _section(title: str, results: Results) -> str:
    if not results:
        return ""
    rows = [(f"`{name}`", _range(each)) for name, each in sorted(results.items(), key=lambda item: _order(item[0]))]
    return f"## {title}\n\n" + _table(("measure", "value"), rows)


def _where(results: Results) -> Iterable[str]:
    runs: dict[str, list[str]] = {}
    for name, each in results.items():
        versions = ", ".join(f"{package} {number}" for package, number in each["versions"].items())
        runs.setdefault(f"{each['day']}, {each['machine']}: {versions}", []).append(name)
    return [f"- {run} ({len(names)} measures)" for run, names in sorted(runs.items(), reverse=True)]


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(titles)
    body = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join([*body, ""])


def _range(each: Mapping[str, Any]) -> str:
    value = _number(each["value"])
    if each["low"] == each["high"]:
        return value
    return f"{value} ({_number(each['low'])} to {_number(each['high'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.3g}"


def _rows(size: str) -> int:
    return int(size.rstrip("km")) * {"k": 1_000, "m": 1_000_000}.get(size[-1], 1)


def _order(name: str) -> tuple[str, int]:
    """Return a key that sorts names by their number of rows if they differ only in that."""
    found = re.search(r"_([0-9]+[km])(?=_|$)", name)
    return (re.sub(r"_[0-9]+[km](?=_|$)", "", name), _rows(found[1]) if found else 0)
