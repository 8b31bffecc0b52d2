"""The results: merged by name, and rendered as a page and a chart."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import plot, table
from benchmarks.goals import GOALS
from benchmarks.options import Options, label
from benchmarks.results import Measure, median, percentile, ratio, read, record

RECORD = """
import sys
from pathlib import Path
from benchmarks.results import record
for number in range(20):
    record({f"{sys.argv[1]}_{number}": number}, "here", {}, Path(sys.argv[2]))
"""


def test_partial_run_replaces_only_its_own_measures(tmp_path: Path):
    latest = tmp_path / "latest.json"
    record({"commit_ms_10k": median([2.0, 1.0, 9.0]), "load_1m_vs_dlt": 0.5}, "old machine", {"python": "3.11"}, latest)
    results = record({"commit_ms_10k": 1.25}, "new machine", {"python": "3.13"}, latest)
    assert results == read(latest) == json.loads(latest.read_text())
    assert results["load_1m_vs_dlt"]["value"] == 0.5
    assert results["load_1m_vs_dlt"]["machine"] == "old machine"
    assert results["commit_ms_10k"]["value"] == 1.25
    assert results["commit_ms_10k"]["versions"] == {"python": "3.13"}
    assert results["commit_ms_10k"]["day"] >= "2026"


def test_concurrent_runs_lose_nothing(tmp_path: Path):
    latest = tmp_path / "latest.json"
    runs = [subprocess.Popen([sys.executable, "-c", RECORD, name, str(latest)]) for name in "abc"]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(read(latest)) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["latest.json"]


def test_results_are_medians_with_their_range():
    assert median([3.0, 1.0, 2.0]) == Measure(2.0, 1.0, 3.0, 3)
    assert ratio([2.0, 6.0], [1.0, 2.0]).value == 4.0 / 1.5
    assert (ratio([2.0, 6.0], [1.0, 2.0]).low, ratio([2.0, 6.0], [1.0, 2.0]).high) == (2.0, 3.0)
    assert percentile(list(range(100)), 0.99) == 99


def test_names_contain_the_number_of_rows():
    assert [label(rows) for rows in (50_000, 1_000_000, 10_000_000, 56_689)] == ["50k", "1m", "10m", "56689"]
    assert Options(rows=7_000).named({"reader_p99": 1.0}) == {"reader_p99_7k_rows": 1.0}
    assert Options().named({"reader_p99": 1.0}) == {"reader_p99": 1.0}


def test_page_shows_goals_and_every_measure(tmp_path: Path):
    measures = {goal.name: goal.bound for goal in GOALS}
    measures |= {"load_1m_vs_dlt": 0.41, "load_50k_dlt_s": 0.35, "load_1m_dlt_s": 2.5, "peak_mb_1m_load": 91.0}
    page = table.page(record(measures, "here", {"python": "3.11"}, tmp_path / "latest.json"))
    assert page.count("| yes |") == len(GOALS) - 1
    assert page.count("| **no** |") == 1
    assert "| dlt, append, Arrow source, no checks (`pipeline.run`, warm) | 0.35 | 2.5 |" in page
    assert "`peak_mb_1m_load`" in page
    assert "here" in page


def test_chart_is_svg_with_a_bar_per_method(tmp_path: Path):
    picture = tmp_path / "loading.svg"
    results = record({"load_1m_bare_copy_s": 0.5, "load_1m_work_s": 1.5}, "here", {}, tmp_path / "latest.json")
    plot.write(results, picture)
    root = ElementTree.fromstring(picture.read_text())
    bars = [element for element in root.iter() if element.tag.endswith("rect") and element.get("rx")]
    assert len(bars) == 2
    assert float(bars[1].get("width")) > 2 * float(bars[0].get("width"))


def test_no_chart_without_results(tmp_path: Path):
    plot.write({}, tmp_path / "loading.svg")
    assert not (tmp_path / "loading.svg").exists()
