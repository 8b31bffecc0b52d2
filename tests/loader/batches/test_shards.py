"""Shards read every line exactly once together, and the result does not depend on how a batch is split."""

import csv as csv_module
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import OperationalError

from ratesflow.loader.batches import byte_ranges
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.byte_ranges import ByteRange, SpanReader, shard_range
from ratesflow.loader.batches.digest import PartDigests
from ratesflow.loader.batches.results import Result
from ratesflow.loader.files import report
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError
from ratesflow.loader.tasks import copy_rows, finalize
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import PART, TaskHarness
from tests.loader.samples import csv, rows

HEADER = b"h\n"


def fetch_from(data: bytes, part: int) -> byte_ranges.Fetch:
    def fetch(start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, part):
            yield data[at : min(at + part, stop)]

    return fetch


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    st.booleans(),
    st.integers(3, 20),
    st.integers(1, 9),
    st.integers(1, 25),
)
@settings(max_examples=500, deadline=None)
def test_shards_have_every_line_once(lines: list[bytes], ended: bool, part: int, shards: int, block: int) -> None:
    """Whatever the parts, blocks and number of shards: joined, the shards' lines are the rows of the file."""
    data = HEADER + b"\n".join(lines) + (b"\n" if ended and lines else b"")
    found, digests = [], []
    for shard in range(shards):
        span = shard_range(len(data), shard, shards, part)
        watching = PartDigests(span.stop - span.start, part)
        reader = SpanReader(fetch_from(data, block), span, len(data), len(HEADER), watching)
        pieces = b"".join(reader.read())
        assert pieces == data[reader.lines.start : reader.lines.stop]
        assert not pieces or data[reader.lines.start - 1 : reader.lines.start] == b"\n"
        found.append(pieces)
        digests += watching.finish()
    assert b"".join(found) == data[len(HEADER) :]
    assert digests == [hashlib.sha256(data[at : at + part]).digest() for at in range(0, len(data), part)]


def test_more_shards_than_parts_leaves_some_empty() -> None:
    """A small batch in many shards has shards with nothing to do."""
    found = [shard_range(10, shard, 4, 8) for shard in range(4)]
    assert sum(span.stop - span.start for span in found) == 10
    assert ByteRange(0, 0) in found


PRICES = rows(6000)


def shards_of(batch: Batch, count: int) -> list[Batch]:
    return [replace(batch, shard=shard, shards=count) for shard in range(count)]


def run_all(harness: TaskHarness, task, batch: Batch, count: int) -> list[str]:
    """Run all shards of a task side by side; return the outcomes of those that merged."""
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(lambda shard: harness.run(task, shard), shards_of(batch, count)))
    return [result.outcome for result in results if result]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("count", [2, 4, 16])
def test_a_batch_comes_out_the_same_however_it_was_split(harness: TaskHarness, count: int) -> None:
    """Digest, counts, prices and rates of shards that ran side by side are those of one task."""
    batch = harness.send(csv(PRICES))
    assert "accepted" in run_all(harness, validate, batch, count)
    assert "loaded" in run_all(harness, load, batch, count)
    assert harness.run(commit, replace(batch, shards=count)).outcome == "committed"
    facts = "SELECT digest, rows, rejected_rows FROM batches WHERE batch_id = %s"
    entry = harness.database.query(facts, batch.batch_id)
    assert harness.database.query("SELECT orig_code, dest_code, day, price FROM prices ORDER BY 1, 2, 3, 4") == sorted(
        PRICES
    )
    visible = harness.database.query("SELECT * FROM daily_rates ORDER BY 1, 2, 3")
    whole = harness.send(csv(PRICES), key="incoming/whole.csv", force=True)
    harness.run(validate, whole)
    assert (
        harness.database.query("SELECT digest, rows, rejected_rows FROM batches WHERE batch_id = %s", whole.batch_id)
        == entry
    )
    harness.run(load, whole)
    harness.database.query("DELETE FROM visible_batches WHERE batch_no <> 0")
    harness.run(commit, whole)
    assert harness.database.query("SELECT * FROM daily_rates ORDER BY 1, 2, 3") == visible


def _report(harness: TaskHarness, result) -> tuple[dict, list[list[str]]]:
    def read(url: str) -> str:
        body = harness.aws("s3").get_object(Bucket=harness.bucket, Key=url.split("/", 3)[3])["Body"]
        return body.read().decode()

    report = json.loads(read(result.report))
    return report, list(csv_module.reader(io.StringIO(read(report["full_report"]))))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("count", [1, 2, 7])
def test_line_numbers_of_a_report_are_exact_in_every_shard(harness18: TaskHarness, count: int) -> None:
    """Bad lines anywhere in the file are reported with the line numbers of the file."""
    lines = csv(PRICES).decode().split("\n")
    bad = [1, 2, 777, 2500, 4321, 5999]
    for at in bad:
        lines[at] = lines[at].replace(",", ";")
    batch = harness18.send("\n".join(lines).encode())
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(lambda shard: harness18.run(validate, shard), shards_of(batch, count)))
    result = next(result for result in results if result)
    assert (result.outcome, result.rows, result.rejected_rows) == ("rejected", 6000, 6)
    report, full = _report(harness18, result)
    assert [error["line"] for error in report["errors"]] == [at + 1 for at in bad]
    assert [int(row[0]) for row in full[1:]] == [at + 1 for at in bad]
    assert harness18.database.one("SELECT count(*) FROM rates") == 0


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("listed", [300, 1_000_000])
def test_a_report_is_the_same_however_the_batch_was_split(
    harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    """Errors, runs of empty lines, unknown ports and the list, truncated or not, are the same as with one shard."""
    for module in (report, finalize):
        monkeypatch.setattr(module, "LISTED_ERRORS", listed)
    lines = csv(PRICES).decode().split("\n")
    for at in range(1, 6000, 3):
        lines[at] = f"ZZ{'AAABBBCCC'[at // 900] * 3}{lines[at][5:]}"
    lines[2000:2000] = [""] * PART * 3
    data = ("\n".join(lines) + "\r\n" * PART * 3).encode()
    found = []
    for count in (1, 7):
        outcome = run_all(harness18, validate, batch := harness18.send(data), count)
        assert outcome[0] == "rejected"
        query = "SELECT report, rows, rejected_rows, message FROM batches WHERE batch_id = %s"
        ((url, *entry),) = harness18.database.query(query, batch.batch_id)
        stored, full = _report(harness18, Result("validate", batch.batch_id, "rejected", report=url))
        found.append((entry, full, stored | {"full_report": None}, list(stored["unknown_ports"])))
    assert found[0] == found[1]
    (rows, rejected, _), full, stored, ports = found[0]
    assert (rows, rejected) == (6000 + PART * 3, 2000 + PART * 3)
    assert stored["reasons"] == {"wrong_field_count": PART * 3, "unknown_port": 2000}
    assert ports == ["ZZAAA", "ZZBBB", "ZZCCC"]
    assert sum(stored["unknown_ports"].values()) == 2000
    assert len(full) - 1 == stored["listed_errors"] == min(listed, 2000 + PART * 3)
    assert [int(row[0]) for row in full[1:]] == sorted(int(row[0]) for row in full[1:])


@pytest.mark.usefixtures("small_parts")
def test_a_shard_that_runs_twice_doubles_nothing(harness: TaskHarness) -> None:
    """Repeated and late attempts of a shard find it done and change nothing."""
    batch = harness.send(csv(PRICES))
    for task in (validate, load):
        first, second = shards_of(batch, 2)
        assert harness.run(task, first) is None
        assert harness.run(task, first) is None
        assert harness.run(task, second)
        assert harness.run(task, first)
    harness.run(commit, batch)
    assert harness.database.one("SELECT count(*) FROM prices") == 6000


@pytest.mark.usefixtures("small_parts")
def test_a_batch_without_all_its_shards_is_never_committed(harness: TaskHarness) -> None:
    """While one shard is not loaded, commit fails; after a discard nothing is left, and late shards fail."""
    before = harness.database.snapshot()
    batch = harness.send(csv(PRICES))
    run_all(harness, validate, batch, 3)
    first, second, third = shards_of(batch, 3)
    for shard in (first, third):
        assert harness.run(load, shard) is None
    with pytest.raises(TaskError, match="were validated, by shard"):
        harness.run(commit, batch)
    assert harness.run(discard, batch).outcome == "discarded"
    with pytest.raises(ClosedError):
        harness.run(load, second)
    assert harness.database.snapshot() == before


@pytest.mark.usefixtures("small_parts")
def test_a_wrong_header_is_reported_once(harness18: TaskHarness) -> None:
    """All shards find the wrong header, and the report has it once."""
    batch = harness18.send(b"a,b\n" + csv(PRICES))
    results = [harness18.run(validate, shard) for shard in shards_of(batch, 3)]
    assert [result.outcome if result else None for result in results] == [None, None, "rejected"]
    report, _ = _report(harness18, results[2])
    assert report["reasons"] == {"wrong_header": 1}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("side", ["first", "second"])
def test_a_half_that_fails_is_all_that_is_copied_again(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Whichever connection of a large shard fails, the next attempt stages each row once."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    copied = copy_rows._copy
    ran: list[str] = []
    second_is_done = threading.Event()

    def fails(cursor, shard, source, *rest):
        half = "second" if source.span.start else "first"
        ran.append(half)
        done = copied(cursor, shard, source, *rest)
        if half == side == "first":
            assert second_is_done.wait(10)
        if half == side:
            raise OperationalError("the connection broke")
        if half == "second":
            # Soon after, its transaction is committed.
            threading.Timer(0.5, second_is_done.set).start()
        return done

    monkeypatch.setattr(copy_rows, "_copy", fails)
    with pytest.raises(TransientError, match="the connection broke"):
        harness.run(load, batch)
    assert sorted(ran) == ["first", "second"]
    staged = harness.database.one("SELECT count(*) FROM staging_1")
    assert (staged > 0) == (side == "first")  # the second half, which has a transaction of its own
    ran.clear()
    monkeypatch.setattr(copy_rows, "_copy", lambda *arguments: (ran.append("copied"), copied(*arguments))[1])
    assert harness.run(load, batch).rows == len(PRICES)
    assert len(ran) == (1 if side == "first" else 2)
    assert harness.run(commit, batch).outcome == "committed"
    assert harness.database.query("SELECT orig_code, dest_code, day, price FROM prices ORDER BY 1, 2, 3, 4") == sorted(
        PRICES
    )


@pytest.mark.usefixtures("small_parts")
def test_a_discard_ends_both_halves(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is closed while a half of it is staged already leaves nothing."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    monkeypatch.setattr(
        "ratesflow.loader.tasks.load._copy_derived", lambda *_: (_ for _ in ()).throw(OperationalError("broke"))
    )
    with pytest.raises(TransientError):
        harness.run(load, batch)
    assert harness.run(discard, batch).outcome == "discarded"
    assert harness.database.one("SELECT to_regclass('staging_1')") is None
