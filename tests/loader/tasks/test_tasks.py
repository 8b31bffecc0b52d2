"""A batch through its tasks, one at a time, against a real database and a real bucket; each claim from both sides."""

import json
import threading
from dataclasses import replace
from datetime import date

import pytest

from ratesflow.database import reference, reference_change
from ratesflow.database.region_rates import fit_tree
from ratesflow.loader.runtime.errors import ClosedError, TaskError
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.discard import discard
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.validate import validate
from tests.loader.conftest import TaskHarness
from tests.loader.samples import csv, daily, rows

PRICES = rows(3000)


def committed(harness: TaskHarness, data: bytes, **sending) -> object:
    """Take a batch all the way."""
    batch = harness.send(data, **sending)
    assert harness.run(validate, batch).outcome == "accepted"
    assert harness.run(load, batch).outcome == "loaded"
    assert harness.run(commit, batch).outcome == "committed"
    return batch


def visible(harness: TaskHarness) -> dict[tuple[str, str, date], int]:
    """Return what readers see, by lane and day."""
    return {
        (orig, dest, day): count
        for orig, dest, day, count in harness.database.query("SELECT orig_code, dest_code, day, count FROM daily_rates")
    }


def test_a_committed_batch_is_visible_whole_and_exact(harness: TaskHarness) -> None:
    """After the commit prices and rates hold every row, and every rate between ports and regions is right."""
    committed(harness, csv(PRICES))
    stored = harness.database.query("SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4")
    assert stored == sorted(PRICES)
    expected = daily(PRICES, reference.builtin())
    assert visible(harness) == {key: count for key, (count, _) in expected.items()}
    averages = harness.database.query(
        "SELECT orig_code, dest_code, day, price FROM daily_rates WHERE price IS NOT NULL"
    )
    assert {(o, d, day): price for o, d, day, price in averages} == {
        key: pytest.approx(total / count, rel=1e-15) for key, (count, total) in expected.items() if count >= 3
    }


def test_nothing_is_visible_before_the_commit(harness: TaskHarness) -> None:
    """A batch that is validated and loaded changes nothing for a reader, until it is committed."""
    batch = harness.send(csv(PRICES))
    version = "SELECT version FROM data_version"
    before = harness.database.one(version)
    harness.run(validate, batch)
    harness.run(load, batch)
    assert visible(harness) == {}
    assert harness.database.one("SELECT count(*) FROM committed_prices") == 0
    assert harness.database.one(version) == before
    harness.run(commit, batch)
    assert visible(harness)
    assert harness.database.one(version) == before + 1


def test_every_task_may_run_again(harness: TaskHarness) -> None:
    """A task that runs again returns the same result and changes nothing."""
    batch = harness.send(csv(PRICES))
    assert [harness.run(validate, batch).outcome for _ in range(2)] == ["accepted", "accepted"]
    assert [harness.run(load, batch).rows for _ in range(2)] == [3000, 3000]
    assert [harness.run(commit, batch).outcome for _ in range(2)] == ["committed", "committed"]
    assert harness.run(validate, batch).outcome == "committed"
    assert harness.database.one("SELECT count(*) FROM prices") == 3000
    assert sum(visible(harness).values()) == sum(count for count, _ in daily(PRICES, reference.builtin()).values())


def test_a_rejected_batch_leaves_only_its_ledger_row(harness: TaskHarness) -> None:
    """One bad line rejects the file, with line, column, value and reason; no table, rate or price is left."""
    before = harness.database.snapshot()
    data = csv(PRICES).replace(b"\n", b"\n\n", 1).replace(b",2021-01-2", b",2021-13-2", 1)
    batch = harness.send(data)
    result = harness.run(validate, batch)
    assert (result.outcome, result.rejected_rows) == ("rejected", 2)
    assert harness.database.snapshot() == before
    assert harness.state(batch) == "rejected"
    key = result.report.removeprefix(f"s3://{harness.bucket}/")
    report = json.loads(harness.aws("s3").get_object(Bucket=harness.bucket, Key=key)["Body"].read())
    assert report["errors"][0]["line"] == 2
    assert report["errors"][1]["column"] == "day"
    assert report["reasons"] == {
        "wrong_field_count": 1,
        "impossible_day": 1,
    }
    for task in (load, commit):
        with pytest.raises(ClosedError, match="rejected, not open"):
            harness.run(task, batch)


def test_the_same_bytes_again_are_a_duplicate_and_change_nothing(harness: TaskHarness) -> None:
    """A second delivery, under any name, ends as a duplicate of the first."""
    first = committed(harness, csv(PRICES))
    before = harness.database.snapshot()
    again = harness.send(csv(PRICES), key="incoming/other-name.csv")
    result = harness.run(validate, again)
    assert result.outcome == "duplicate"
    assert first.batch_id in result.message
    assert harness.database.snapshot() == before


def test_the_same_bytes_by_force_are_another_batch(harness: TaskHarness) -> None:
    """A batch that carries the metadata of force is loaded although its bytes are there."""
    committed(harness, csv(PRICES))
    committed(harness, csv(PRICES), force=True)
    assert harness.database.one("SELECT count(*) FROM committed_prices") == 6000


def test_two_deliveries_at_the_same_moment_commit_once(harness: TaskHarness) -> None:
    """Both are loaded before either commits; one is committed, the other becomes a duplicate and leaves nothing."""
    batches = [harness.send(csv(PRICES), key=f"incoming/{name}.csv") for name in "ab"]
    for batch in batches:
        assert harness.run(validate, batch).outcome == "accepted"
        harness.run(load, batch)
    outcomes = []
    threads = [
        threading.Thread(target=lambda batch=batch: outcomes.append(harness.run(commit, batch).outcome))
        for batch in batches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["committed", "duplicate"]
    assert harness.database.one("SELECT count(*) FROM prices") == 3000
    assert harness.database.one("SELECT count(DISTINCT batch_no) FROM rates") == 1
    assert harness.database.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'prices'::regclass") == 1


@pytest.mark.parametrize("after", [(), (validate,), (validate, load)], ids=["nothing", "validate", "load"])
def test_discard_leaves_nothing_whatever_was_done(harness: TaskHarness, after: tuple) -> None:
    """After a discard the batch is failed in the ledger, nothing else is left, and no late task can continue."""
    before = harness.database.snapshot()
    batch = harness.send(csv(PRICES))
    for task in after:
        harness.run(task, batch)
    assert [harness.run(discard, batch).outcome for _ in range(2)] == ["discarded", "discarded"]
    assert harness.database.snapshot() == before
    assert harness.state(batch) == "failed"
    for task in (validate, load, commit):
        with pytest.raises(ClosedError):
            harness.run(task, batch)
    assert harness.database.snapshot() == before


def test_discard_never_undoes_a_commit(harness: TaskHarness) -> None:
    """A commit whose result was lost stands: discard returns committed and changes nothing."""
    batch = committed(harness, csv(PRICES))
    before = harness.database.snapshot()
    assert harness.run(discard, batch).outcome == "committed"
    assert harness.database.snapshot() == before


def test_after_a_failure_the_same_file_commits(harness: TaskHarness) -> None:
    """The bytes of a batch that was discarded are no duplicate."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    harness.run(load, batch)
    harness.run(discard, batch)
    committed(harness, csv(PRICES), key="incoming/again.csv")
    assert harness.database.one("SELECT count(*) FROM committed_prices") == 3000


def test_commit_refuses_a_batch_that_was_not_loaded(harness: TaskHarness) -> None:
    """A batch whose validated rows are not staged is not committed."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    before = harness.database.snapshot()
    with pytest.raises(TaskError, match="0 rows are staged"):
        harness.run(commit, batch)
    assert harness.database.snapshot() == before


@pytest.mark.parametrize("other", [rows(3000, seed=2), [*PRICES[1:], PRICES[0]]], ids=["other size", "other order"])
def test_load_refuses_bytes_that_were_not_validated(harness: TaskHarness, other: list) -> None:
    """If the digest differs, the copy is rolled back."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    version = harness.aws("s3").put_object(Bucket=batch.bucket, Key=batch.key, Body=csv(other))["VersionId"]
    batch = replace(batch, version=version)
    with pytest.raises(ClosedError, match="validated: send the file again"):
        harness.run(load, batch)
    assert harness.database.one("SELECT count(*) FROM rates") == 0


def test_load_refuses_rates_that_were_not_counted(harness: TaskHarness) -> None:
    """Rates that changed in the bucket are not loaded, and the copy is rolled back."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    harness.aws("s3").put_object(Bucket=harness.bucket, Key=batch.result_key("rates/0.copy"), Body=b"")
    with pytest.raises(ClosedError, match="differ from those that validation stored"):
        harness.run(load, batch)
    assert harness.database.one("SELECT count(*) FROM rates") == 0


def test_a_deleted_version_has_a_clear_error(harness18: TaskHarness) -> None:
    """An object whose version was deleted is not a transient failure."""
    batch = harness18.send(csv(PRICES))
    harness18.aws("s3").delete_object(Bucket=batch.bucket, Key=batch.key, VersionId=batch.version)
    with pytest.raises(ClosedError, match="is gone: send the file again"):
        harness18.run(validate, batch)


@pytest.mark.parametrize("moved", ["before the load", "after the load"])
def test_regions_that_move_under_a_batch_are_counted_right(harness: TaskHarness, moved: str) -> None:
    """A port that moves between validation and commit takes the batch's prices to its new region."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    if moved == "after the load":
        harness.run(load, batch)
    tree = reference.builtin()
    changed = reference.Reference(
        {"CNSHA": reference.Port("CNSHA", "Shanghai", "isle"), "NLRTM": reference.Port("NLRTM", "Rotterdam", "asia")},
        {"isle": reference.Region("isle", "Isle", "europe")},
    )
    connection = harness.database.connect()
    reference_change.load(connection, changed)
    connection.close()
    harness.run(load, batch)
    harness.run(commit, batch)
    merged = reference.Reference({**tree.ports, **changed.ports}, {**tree.regions, **changed.regions})
    assert visible(harness) == {key: count for key, (count, _) in daily(PRICES, merged).items()}


def test_both_ways_to_count_regions_agree(harness: TaskHarness) -> None:
    """What validation adds up and what the database adds up are the same rows."""
    batch = harness.send(csv(PRICES))
    harness.run(validate, batch)
    harness.run(load, batch)
    every = "SELECT month, orig_code, dest_code, counts, sums FROM rates ORDER BY 1, 2, 3"
    counted = harness.database.query(every)
    connection = harness.database.connect()
    with connection, connection.cursor() as cursor:
        fit_tree(cursor, harness.database.one("SELECT max(batch_no) FROM rates"), None)
    connection.close()
    assert harness.database.query(every) == counted


def test_crlf_bom_quotes_and_order_load_the_same_rows(harness: TaskHarness) -> None:
    """A file as spreadsheets write it is validated and copied with the same values."""
    text = "\ufeff" + "price,day,dest_code,orig_code\r\n"
    text += "".join(f'"{price}",{day},"{dest}",{orig}\r\n' for orig, dest, day, price in PRICES)
    committed(harness, text.encode())
    stored = harness.database.query("SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4")
    assert stored == sorted(PRICES)
