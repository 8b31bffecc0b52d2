"""The figures as a page of Markdown, made of `latest.json` alone: a partial run renews its own part of it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS
from benchmarks.results import FOLDER, Measure, replace

PAGE = FOLDER / "results.md"
Known = Mapping[str, Mapping[str, Any]]

WAYS = {
    "bare_copy": "`\\copy` into a bare unlogged table: the floor",
    "logged_copy": "`\\copy` into a bare logged table",
    "indexed_copy": "`\\copy` into a logged table with one index (orig, dest, day)",
    "first_schema": "`\\copy` into the first version's schema (two foreign keys)",
    "to_sql": "pandas `to_sql`, multi",
    "dlt": "dlt, append, Arrow source, no checks (`pipeline.run`, warm)",
    "dlt_process": "the same as a process that starts",
    "work": "**ratesflow, the work: validate, load, commit**",
    "work_validate": "… validate",
    "work_load": "… load",
    "work_commit": "… commit",
    "whole": "**ratesflow, the whole: three processes that start**",
    "whole_validate": "… validate",
    "whole_load": "… load",
    "whole_commit": "… commit",
}
_NOTE = """\
Medians; in brackets the lowest and the highest round. The ways take turns within each round, on a PostgreSQL
that the run starts as `ratesflow up` does, fsync on; our bytes come from the embedded S3, which runs on the
same cores. Several prices a lane and day on 4,000 lanes, day after day, lanes mixed within a day, from a seed.

What AWS adds is not in these figures, and was not measured: an estimate. A Fargate job is provisioned "in about
30 seconds" ([AWS Batch User Guide](https://docs.aws.amazon.com/batch/latest/userguide/when-to-use-fargate.html));
validate, load and commit are three jobs one after the other, so about a minute and a half a batch, whatever its
size, less on EC2 instances that are up already.
"""


def write(known: Known, path: Path = PAGE) -> None:
    """Write the page anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, page(known))


def page(known: Known) -> str:
    """Return the page."""
    parts = ["# Figures", "", "Written by `make bench`; do not edit.", "", _goals(known), _loading(known)]
    shown = {goal.name for goal in GOALS} | {name for name in known if _loading_part(name)}
    rest = {name: each for name, each in known.items() if name not in shown}
    for title, prefixes in SECTIONS.items():
        mine = {name: each for name, each in rest.items() if name.startswith(prefixes)}
        parts.append(_section(title, mine))
        rest = {name: each for name, each in rest.items() if name not in mine}
    parts += [_section("Others", rest), "## How, where and when", "", _NOTE, *_where(known), ""]
    return "\n".join(part for part in parts if part is not None)


SECTIONS: dict[str, tuple[str, ...]] = {
    "Commit": ("commit_",),
    "Memory": ("peak_",),
    "Shards": ("shards_", "two_", "four_"),
    "Reading meanwhile": ("reader_",),
    "After many batches": ("read_", "compact_", "batches_"),
    "The embedded stack": ("start_",),
    "The API": ("api_", "region_"),
}


def lines(measured: Mapping[str, Measure]) -> str:
    """Return what one part measured, a line each, for the terminal."""
    width = max(map(len, measured), default=0)
    return "\n".join(
        f"{name:<{width}}  {_number(each.value):>9}   "
        f"({_number(each.low)} to {_number(each.high)}; {each.rounds} rounds)"
        for name, each in measured.items()
    )


def _goals(known: Known) -> str:
    rows = []
    for goal in GOALS:
        found = known.get(goal.name)
        value = f"{_range(found)}{goal.unit}" if found else "not measured"
        met = ("yes" if goal.met(found["value"]) else "**no**") if found else ""
        rows.append((goal.words, goal.wanted, value, met, f"`{goal.name}`"))
    return _table(("what", "wanted", "measured", "met", "name"), rows)


def _loading_part(name: str) -> re.Match[str] | None:
    return re.fullmatch(rf"load_([0-9]+[km]?)_({'|'.join(WAYS)})_s", name)


def _loading(known: Known) -> str:
    sizes = sorted({match[1] for name in known if (match := _loading_part(name))}, key=_rows)
    rows = []
    for way, words in WAYS.items():
        found = [known.get(f"load_{size}_{way}_s") for size in sizes]
        if any(found):
            rows.append((words, *(_range(each) if each else "" for each in found)))
    titles = [f"{_rows(size):,} rows" for size in sizes]
    return "## Loading, in seconds\n\n" + _table(("way", *titles), rows) if rows else ""


def _section(title: str, known: Known) -> str:
    if not known:
        return ""
    rows = [(f"`{name}`", _range(each)) for name, each in sorted(known.items(), key=lambda item: _order(item[0]))]
    return f"## {title}\n\n" + _table(("measure", "value"), rows)


def _where(known: Known) -> Iterable[str]:
    runs: dict[str, list[str]] = {}
    for name, each in known.items():
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
    """Sort names that differ in a number of rows by that number."""
    found = re.search(r"_([0-9]+[km])(?=_|$)", name)
    return (re.sub(r"_[0-9]+[km](?=_|$)", "", name), _rows(found[1]) if found else 0)
