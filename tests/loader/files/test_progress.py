"""The progress lines of a task: their content, their frequency, and that they end at the whole."""

import itertools
import json
from collections.abc import Iterator

import pytest

from ratesflow.loader.batches.byte_ranges import ByteRange
from ratesflow.loader.files import progress as module
from ratesflow.loader.files.progress import Progress, watched
from ratesflow.loader.files.report import ReportWriter
from ratesflow.loader.freight.schema import ROWS


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def lines(capsys: pytest.CaptureFixture[str]) -> list[tuple[int, float]]:
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(line["message"] == "progress" for line in written)
    return [(line["rows"], line["share"]) for line in written]


def test_lines_are_frequent_at_first_and_rare_later(monkeypatch, capsys):
    """There is no line in the first moment; an hour's work has some hundred lines, at least five seconds apart."""
    clock = Clock(monkeypatch)
    progress = Progress(began=0.0)
    at: list[float] = []
    for tick in range(36_000):
        clock.now = tick / 10
        progress.update(tick, tick / 36_000)
        if capsys.readouterr().out:
            at.append(clock.now)
    assert at[0] == 0.2
    gaps = [two - one for one, two in itertools.pairwise(at)]
    assert max(gaps[:5]) < 0.35
    assert 500 < len(at) < 900
    assert min(gaps[-50:]) > 4.9


def test_reading_tells_rows_and_share(monkeypatch, capsys):
    """Of a shard's bytes the share is how far reading is in its span; a look elsewhere in the file moves nothing."""
    clock, report = Clock(monkeypatch), ReportWriter(ROWS)

    def fetch(start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, 10):
            yield b"x" * min(10, stop - at)

    read = watched(fetch, ByteRange(100, 140), report, Progress(began=0.0))
    for begin, stop in ((0, 20), (100, 145)):
        for block in read(begin, stop):
            clock.now += 1
            report.count(len(block))
    assert lines(capsys) == [(10, 0.0), (20, 0.0), (30, 0.25), (40, 0.5), (50, 0.75), (60, 1.0), (65, 1.0)]


def test_files_that_know_their_rows_tell_by_them(monkeypatch, capsys):
    """If the file states its number of rows, as Parquet does, the share is that of the rows."""
    clock, report = Clock(monkeypatch), ReportWriter(ROWS)
    report.expected_rows = 200
    for _ in watched(lambda start, stop: iter([b"x"] * 2), ByteRange(0, 2), report, Progress(began=0.0))(0, 2):
        clock.now += 1
        report.count(50)
    assert lines(capsys) == [(50, 0.25), (100, 0.5)]
