"""The same prices in any format have the same result; a broken file of any format leaves nothing behind."""

import gzip
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ratesflow.database import reference
from ratesflow.loader.batches import digest, s3
from ratesflow.loader.runtime.errors import ClosedError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate
from tests.loader import samples
from tests.loader.conftest import PART, TaskHarness

PRICES = samples.rows(6000, seed=31)
TABLE = samples.parquet(PRICES, row_group_size=700)
LINES = samples.json_lines(PRICES)
TEXT = samples.csv(PRICES)
# Some lines end in CRLF; the empty ones at the end are more than a shard has.
MIXED = {"csv": TEXT.replace(b"0\n", b"0\r\n"), "jsonl": LINES.replace(b"0}\n", b"0}\r\n")}
EMPTY_END = b"\n\r\n" * PART * 4
FORMATS = {
    "csv": TEXT,
    "crlf.csv": TEXT.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
    "mixed.csv": MIXED["csv"] + EMPTY_END,
    "mixed.csv.gz": gzip.compress(MIXED["csv"] + EMPTY_END),
    "csv.gz": gzip.compress(samples.csv(PRICES)),
    "members.gz": gzip.compress(samples.csv(PRICES)[:5000]) + gzip.compress(samples.csv(PRICES)[5000:]),
    "jsonl": LINES,
    "ends.jsonl": MIXED["jsonl"] + EMPTY_END,
    "spaced.jsonl": LINES.replace(b": ", b" :  ").replace(b"}", b" }\r"),
    "mixed.jsonl": b"\xef\xbb\xbf" + LINES.replace(b'"CN', b'"\\u0043N'),
    "jsonl.gz": gzip.compress(LINES),
    "parquet": TABLE,
    "text.parquet": samples.parquet(PRICES, {"day": pa.string(), "price": pa.uint16()}, row_group_size=700),
    "pandas.parquet": samples.parquet(PRICES, {"day": pa.timestamp("ns")}, compression="gzip"),
}


def run_all(harness: TaskHarness, task: Any, batch: Any, count: int) -> Any:
    """Run all shards of a task side by side; return what the one answers that merged them."""
    with ThreadPoolExecutor(count) as pool:
        shards = [replace(batch, shard=shard, shards=count) for shard in range(count)]
        results = list(pool.map(lambda shard: harness.run(task, shard), shards))
    return next(result for result in results if result)


def read_report(harness: TaskHarness, result: Any) -> dict[str, Any]:
    """Return the report of a validation."""
    key = result.report.removeprefix(f"s3://{harness.bucket}/")
    return json.loads(harness.aws("s3").get_object(Bucket=harness.bucket, Key=key)["Body"].read())


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_commits_the_same_prices(harness: TaskHarness, name: str, shards: int) -> None:
    """Prices and rates are those in the file, for any format, number of shards and key."""
    batch = harness.send(FORMATS[name], key="incoming/prices.csv")
    result = run_all(harness, validate, batch, shards)
    assert (result.outcome, result.rows) == ("accepted", len(PRICES))
    assert run_all(harness, load, batch, shards).rows == len(PRICES)
    assert harness.run(commit, replace(batch, shards=shards)).outcome == "committed"
    stored = harness.database.query("SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4")
    assert stored == sorted(PRICES)
    counts = harness.database.query("SELECT orig_code, dest_code, day, count FROM daily_rates")
    expected = samples.daily(PRICES, reference.builtin())
    assert {tuple(row[:3]): row[3] for row in counts} == {key: count for key, (count, _) in expected.items()}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("name", ["csv.gz", "jsonl", "parquet"])
def test_the_digest_is_that_of_the_objects_own_bytes(harness18: TaskHarness, name: str) -> None:
    """The same object is a duplicate of itself, however many shards read it; its prices in CSV are another batch."""
    data = FORMATS[name]
    whole = harness18.send(data)
    run_all(harness18, validate, whole, 1)
    split = harness18.send(data, key="incoming/split")
    run_all(harness18, validate, split, 4)
    digests = [
        harness18.database.one("SELECT digest FROM batches WHERE batch_id = %s", batch.batch_id)
        for batch in (whole, split)
    ]
    parts = digest.PartDigests(len(data), PART)
    parts.update(data)
    assert digests == [digest.batch_digest(parts.finish())] * 2


BROKEN = {
    "truncated gzip": (FORMATS["csv.gz"][:-700], "truncated_gzip", None),
    "damaged gzip": (FORMATS["csv.gz"][:-8] + b"\0" * 8, "broken_gzip", None),
    "gzip and more": (FORMATS["csv.gz"] + b"more", "broken_gzip", len(PRICES) + 2),
    "truncated Parquet": (TABLE[:-700], "truncated_parquet", 1),
    "damaged Parquet": (
        TABLE[: len(TABLE) // 2] + b"\xff" * 99 + TABLE[len(TABLE) // 2 + 99 :],
        "broken_parquet",
        None,
    ),
    "one bad line of JSON": (LINES.replace(b'"price": ', b'"price": 0', 1), "invalid_json", 1),
    "one bad price of Parquet": (samples.parquet([*PRICES[:800], (*PRICES[0][:3], -1)]), "price_not_positive", 801),
    "a column too many": (samples.parquet(PRICES[:9]).replace(b"dest_code", b"dest_kode"), "wrong_header", 1),
}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_of_any_format_leaves_nothing(harness: TaskHarness, name: str, shards: int) -> None:
    """The file is rejected with its line and reason, cannot be loaded, and leaves no table or rate."""
    data, reason, line = BROKEN[name]
    before = harness.database.snapshot()
    batch = harness.send(data)
    result = run_all(harness, validate, batch, shards)
    assert result.outcome == "rejected"
    report = read_report(harness, result)
    assert report["reasons"][reason] == 1
    assert line in (None, report["errors"][0]["line"])
    with pytest.raises(ClosedError, match="rejected, not open"):
        harness.run(load, batch)
    assert harness.database.snapshot() == before


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_bad_rows_have_the_files_own_numbers_in_every_shard(harness18: TaskHarness, name: str) -> None:
    """Row n of a Parquet file is reported as line n, and so is line n of JSON Lines, in any shard."""
    bad = {1, 2, 777, 2500, 4321, 6000}
    rows = [(*row[:3], -1) if at in bad else row for at, row in enumerate(PRICES, start=1)]
    make = {"jsonl": samples.json_lines, "parquet": lambda found: samples.parquet(found, row_group_size=700)}[name]
    result = run_all(harness18, validate, harness18.send(make(rows)), 4)
    report = read_report(harness18, result)
    assert (report["rows"], report["rejected_rows"]) == (6000, len(bad))
    assert {error["line"] for error in report["errors"]} == bad


@pytest.mark.parametrize("name", ["csv", "csv.gz", "jsonl", "parquet"])
def test_load_refuses_a_file_that_changed(harness: TaskHarness, name: str) -> None:
    """A different file of the same size in place of the validated one is not loaded and leaves nothing."""
    data = FORMATS[name]
    batch = harness.send(data)
    assert harness.run(validate, batch).outcome == "accepted"
    middle = len(data) // 2
    other = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    version = harness.aws("s3").put_object(Bucket=batch.bucket, Key=batch.key, Body=other)["VersionId"]
    with pytest.raises(ClosedError, match="validated"):
        harness.run(load, replace(batch, version=version))
    assert harness.database.one("SELECT count(*) FROM rates") == 0
    harness.run(discard, batch)


def test_an_object_that_changes_while_it_is_read_fails_the_load(harness18: TaskHarness) -> None:
    """In a bucket without versions, the rest of another object is never read as the rest of this one."""
    harness18.aws("s3").put_object(Bucket=harness18.bucket, Key="plain", Body=b"one")
    batch = replace(harness18.send(b"x"), key="plain", version="null")
    batch = replace(batch, etag=s3.head(batch).etag)
    assert b"".join(s3.parts(batch, 0, 3)) == b"one"
    harness18.aws("s3").put_object(Bucket=harness18.bucket, Key="plain", Body=b"two")
    with pytest.raises(ClosedError, match="changed while it was read"):
        list(s3.parts(batch, 0, 3))


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("csv", {"pandas", "numpy", "pyarrow"}),
        ("csv.gz", {"pandas", "numpy", "pyarrow"}),
        ("jsonl", {"pandas", "numpy", "pyarrow"}),
        ("parquet", {"pandas"}),
    ],
)
def test_load_imports_only_what_its_format_needs(name: str, absent: set[str], tmp_path: Path) -> None:
    """Text is copied without importing pandas and pyarrow, which would take half a second."""
    code = (
        "import sys; from pathlib import Path; import ratesflow.loader.tasks.load;"
        "from ratesflow.loader.freight.dataset import FreightPrices;"
        "from ratesflow.loader.batches.digest import PartDigests;"
        "ROWS = FreightPrices().schema;"
        "from ratesflow.loader.files.detect import detect_format;"
        "from ratesflow.loader.files.csv_stream import *; from ratesflow.loader.batches.byte_ranges import ByteRange;"
        "data = Path(sys.argv[1]).read_bytes();"
        "fetch = lambda start, stop: iter([data[start:stop]]); size = len(data);"
        "layout = detect_format(fetch, size, ROWS); header = layout.header;"
        "rows = ByteRange(0, 9) if layout.kind == 'parquet' else ByteRange(header.bytes, size << 9);"
        "source = Source(fetch, size, ROWS, ByteRange(0, size), layout.kind, layout.gzipped, header.columns, rows);"
        "assert b''.join(csv_stream(source, PartDigests(size))).count(b'\\n') == 6000; print(*sys.modules)"
    )
    assert absent.isdisjoint(_modules(code, FORMATS[name], tmp_path))


@pytest.mark.parametrize("name", ["csv", "csv.gz", "jsonl"])
def test_validation_of_text_imports_no_pyarrow(name: str, tmp_path: Path) -> None:
    """Validation of text does not import pyarrow, which needs 35 MB, although pandas would."""
    code = (
        "import sys; from pathlib import Path; from ratesflow.database.reference import builtin;"
        "from ratesflow.loader.freight.dataset import FreightPrices;"
        "from ratesflow.loader.files.read_shard import validate_file;"
        "report = validate_file(Path(sys.argv[1]), FreightPrices(), builtin());"
        "assert report.accepted, report; print(*sys.modules)"
    )
    found = _modules(code, FORMATS[name], tmp_path)
    assert "pandas" in found
    assert "pyarrow" not in found


def _modules(code: str, data: bytes, folder: Path) -> set[str]:
    file = folder / "batch"
    file.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "key", ["incoming//prices.csv", "incoming/../p.csv", "incoming/tab\tprices.csv", "incoming/ä #?%41.csv"]
)
def test_every_key_that_s3_takes_can_be_loaded(harness18: TaskHarness, key: str) -> None:
    """Also names with empty parts, dots, control characters, spaces and what looks like an escape."""
    batch = harness18.send(FORMATS["csv"], key=key, force=True)
    found = s3.head(batch)
    assert (found.bytes, found.forced) == (len(FORMATS["csv"]), True)
    assert b"".join(s3.parts(replace(batch, etag=found.etag), 5, found.bytes)) == FORMATS["csv"][5:]
    assert harness18.run(validate, batch).outcome == "accepted"
    assert harness18.run(load, batch).outcome == "loaded"
    assert harness18.run(commit, batch).outcome == "committed"
    with pytest.raises(ClosedError, match="is gone"):
        s3.head(replace(batch, version="0" * 32))
