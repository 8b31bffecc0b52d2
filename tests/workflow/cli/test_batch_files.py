"""The commands for batch files: sample, validate, and the exit code of several files."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main
from ratesflow.workflow.cli.batch_exit_codes import worst
from ratesflow.workflow.cli.commands.batches.rates import sparkline
from ratesflow.workflow.cli.sample_batch import sample_lines

PORTS = ["AAAAA", "BBBBB", "CCCCC"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `ratesflow` in a folder without a stack."""
    for name in ("RATESFLOW_HOME", "RATESFLOW_ENV", "RATESFLOW_STATE_MACHINE_ARN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(part) for part in arguments])


def test_sample_is_reproducible(run):
    """The same arguments produce the same bytes, compressed or not; another seed produces others."""
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2), ("d.csv.gz", 1), ("e.csv.gz", 1)):
        assert run("sample", "-n", "500", "--seed", seed, "-o", name).exit_code == 0
    a, b, c, d, e = (Path(name).read_bytes() for name in ("a.csv", "b.csv", "c.csv", "d.csv.gz", "e.csv.gz"))
    assert a == b != c
    assert d == e
    assert gzip.decompress(d) == a
    assert CliRunner().invoke(main, ["sample", "-n", "500"]).stdout_bytes == a


def test_sample_is_like_a_batch(run):
    """A sample has the header, the requested rows, days with several prices, and days with too few."""
    lines = run("sample", "-n", "20000").stdout.splitlines()
    assert lines[0] == "orig_code,dest_code,day,price"
    assert len(lines) == 20_001
    days = [line.rsplit(",", 1)[0] for line in lines[1:]]
    counts = dict.fromkeys(days, 0)
    for day in days:
        counts[day] += 1
    assert len({day[:11] for day in days}) > 50
    assert {1, 2, 3, 4, 5} <= set(counts.values())
    assert all(100 <= int(line.rsplit(",", 1)[1]) <= 20_000 for line in lines[1:])


@pytest.mark.parametrize("invalid", [0, 1, 7, 90, 100])
def test_sample_has_the_requested_invalid_rows(invalid):
    """Exactly the requested number of rows is invalid."""
    good = list(sample_lines(PORTS, 100, 5))
    mixed = list(sample_lines(PORTS, 100, 5, invalid))
    right = [len(line.split(",")) == 4 and line.split(",")[0] in PORTS for line in good[1:]]
    assert all(right)
    assert len(mixed) == len(good)
    wrong = [line for line in mixed[1:] if not _is_right(line)]
    assert len(wrong) == invalid


def _is_right(line):
    origin, destination, day, price = line.split(",")
    return (
        origin in PORTS
        and destination in PORTS
        and day[:5] == "2021-"
        and day != "2021-02-30"
        and price.isdigit()
        and int(price) > 0
    )


def test_validate_reports_the_result_of_the_loader(run):
    """`validate` checks a file offline: it exits with 0 if accepted, and with 3 and the lines if rejected."""
    assert run("sample", "-n", "300", "-o", "good.csv").exit_code == 0
    assert run("sample", "-n", "300", "--invalid", "4", "-o", "bad.csv").exit_code == 0
    good = run("validate", "good.csv")
    assert (good.exit_code, good.output) == (0, "accepted, 300 rows: good.csv\n")
    bad = run("validate", "bad.csv")
    assert bad.exit_code == 3
    assert bad.output.startswith("4 of 300 rows were rejected.\n")
    report = json.loads(run("validate", "bad.csv", "--json").output)
    assert report["accepted"] is False
    assert len(report["errors"]) == 4


def test_validate_names_every_unknown_port(run, tmp_path):
    """An unknown port beyond the listed errors is named, too, with its count."""
    rows = ["ZZAAA,EETLL,2021-01-31,5"] * 300 + ["EETLL,ZZBBB,2021-01-31,5"] * 3
    (tmp_path / "ports.csv").write_text("\n".join(["orig_code,dest_code,day,price", *rows]))
    assert "\nunknown ports: ZZAAA (300), ZZBBB (3)\n" in run("validate", "ports.csv").output


def test_worst_file_decides():
    """With several files a failure takes precedence over a rejection, and a rejection over a duplicate."""
    assert worst([0, 4, 3, 1]) == 1
    assert worst([0, 4, 3]) == 3
    assert worst([0, 4]) == 4
    assert worst([0, 3, 64]) == 64


def test_sparkline_shows_gaps_and_extremes():
    """The lowest value is the lowest bar, the highest the highest, and a day without an average a gap."""
    assert sparkline([1.0, None, 8.0]) == "▁ █"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([None]) == ""
