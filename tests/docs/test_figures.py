"""Figures in documents are those that were measured or computed."""

import re
from pathlib import Path

from benchmarks.scale import Figures, report, simulate

ROOT = Path(__file__).parents[2]
RESULTS = (ROOT / "benchmarks/results/results.md").read_text(encoding="utf-8")


def measured() -> dict[str, list[float]]:
    """Return the median of each measure, and its smallest and largest value where there are several."""
    found = {}
    for line in RESULTS.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = next((cell.strip("`") for cell in (cells[0], cells[-1]) if re.fullmatch(r"`\w+`", cell)), None)
        value = cells[2] if len(cells) > 3 else cells[1] if len(cells) > 1 else ""
        if name and (numbers := re.findall(r"\d[\d,]*\.?\d*", value)):
            found[name] = [float(number.replace(",", "")) for number in numbers[:3]]
    return found


def test_the_tables_of_scale_are_computed() -> None:
    """docs/scale.md has the tables that `python -m benchmarks.scale` prints."""
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in report(Figures()) if line and line not in page] == []


def test_scale_assumes_the_schedule_of_production() -> None:
    """The simulation compacts as often as production does."""
    text = (ROOT / "terraform/variables_upkeep.tf").read_text(encoding="utf-8")
    schedule = re.search(r'variable "compact_schedule" \{.*?default += "rate\((\d+) minutes\)"', text, re.S)
    least = re.search(r'variable "compact_min_batches" \{.*?default += (\d+)', text, re.S)
    assert schedule
    assert least
    assert Figures().compact_every == 60 * int(schedule[1])
    assert Figures().compact_due == int(least[1])


def test_a_thousand_batches_per_day_raise_no_alarm() -> None:
    """At the peak of 1,000 batches per day, fewer batches are uncompacted than the alarm's threshold."""
    text = (ROOT / "terraform/alarms_workflow.tf").read_text(encoding="utf-8")
    threshold = re.search(r"uncompacted-batches = \{.*?threshold = (\d+)", text, re.S)
    assert threshold
    assert all(simulate(1000, 1_000_000, Figures(), seed).visible_batches <= int(threshold[1]) for seed in range(1, 6))


def test_the_figures_of_the_benchmarks_page() -> None:
    """Each figure of the table is the rounded median, or an end of the range, of the measure in its row."""
    values, wrong = measured(), []
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    for shown, names in [row for row in rows if row[1].startswith("`")]:
        numbers = re.findall(r"\d+\.?\d*", shown)
        for number, name in zip(numbers, re.findall(r"`(\w+)`", names), strict=True):
            decimals = len(number.partition(".")[2])
            if all(abs(value - float(number)) > 0.5 * 10**-decimals for value in values[name]):
                wrong.append((name, number, values[name]))
    assert len(rows) > 10
    assert wrong == []
