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


def committed(desk: TaskHarness, data: bytes, **sending) -> object:
    """Take a batch all the way."""
    batch = desk.send(data, **sending)
    assert desk.run(validate, batch).outcome == "accepted"
    assert desk.run(load, batch).outcome == "loaded"
    assert desk.run(commit, batch).outcome == "committed"
    return batch


def visible(desk: TaskHarness) -> dict[tuple[str, str, date], int]:
    """Return what readers see, by lane and day."""
    return {
        (orig, dest, day): count
        for orig, dest, day, count in desk.database.ask("SELECT orig_code, dest_code, day, count FROM daily_rates")
    }


def test_a_committed_batch_is_visible_whole_and_exact(desk: TaskHarness) -> None:
    """After the commit prices and rates hold every row, and every rate between ports and regions is right."""
    committed(desk, csv(PRICES))
    stored = desk.database.ask("SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4")
    assert stored == sorted(PRICES)
    expected = daily(PRICES, reference.builtin())
    assert visible(desk) == {key: count for key, (count, _) in expected.items()}
    averages = desk.database.ask("SELECT orig_code, dest_code, day, price FROM daily_rates WHERE price IS NOT NULL")
    assert {(o, d, day): price for o, d, day, price in averages} == {
        key: pytest.approx(total / count, rel=1e-15) for key, (count, total) in expected.items() if count >= 3
    }


def test_nothing_is_visible_before_the_commit(desk: TaskHarness) -> None:
    """A batch that is validated and loaded changes nothing for a reader, until it is committed."""
    batch = desk.send(csv(PRICES))
    version = "SELECT version FROM data_version"
    before = desk.database.one(version)
    desk.run(validate, batch)
    desk.run(load, batch)
    assert visible(desk) == {}
    assert desk.database.one("SELECT count(*) FROM committed_prices") == 0
    assert desk.database.one(version) == before
    desk.run(commit, batch)
    assert visible(desk)
    assert desk.database.one(version) == before + 1


def test_every_task_may_run_again(desk: TaskHarness) -> None:
    """A task that is done answers the same when it runs again, and doubles nothing."""
    batch = desk.send(csv(PRICES))
    assert [desk.run(validate, batch).outcome for _ in range(2)] == ["accepted", "accepted"]
    assert [desk.run(load, batch).rows for _ in range(2)] == [3000, 3000]
    assert [desk.run(commit, batch).outcome for _ in range(2)] == ["committed", "committed"]
    assert desk.run(validate, batch).outcome == "committed"
    assert desk.database.one("SELECT count(*) FROM prices") == 3000
    assert sum(visible(desk).values()) == sum(count for count, _ in daily(PRICES, reference.builtin()).values())


def test_a_refused_batch_leaves_nothing_but_its_row(desk: TaskHarness) -> None:
    """One bad line refuses the file, with its line, column, value and reason; no table, rate or price is left."""
    before = desk.database.snapshot()
    data = csv(PRICES).replace(b"\n", b"\n\n", 1).replace(b",2021-01-2", b",2021-13-2", 1)
    batch = desk.send(data)
    result = desk.run(validate, batch)
    assert (result.outcome, result.rejected_rows) == ("rejected", 2)
    assert desk.database.snapshot() == before
    assert desk.state(batch) == "rejected"
    key = result.report.removeprefix(f"s3://{desk.bucket}/")
    report = json.loads(desk.aws("s3").get_object(Bucket=desk.bucket, Key=key)["Body"].read())
    assert report["errors"][0]["line"] == 2
    assert report["errors"][1]["column"] == "day"
    assert report["reasons"] == {
        "wrong_field_count": 1,
        "impossible_day": 1,
    }
    for task in (load, commit):
        with pytest.raises(ClosedError, match="rejected, not open"):
            desk.run(task, batch)


def test_the_same_bytes_again_are_a_duplicate_and_change_nothing(desk: TaskHarness) -> None:
    """A second delivery, under any name, ends as a duplicate of the first."""
    first = committed(desk, csv(PRICES))
    before = desk.database.snapshot()
    again = desk.send(csv(PRICES), key="incoming/other-name.csv")
    result = desk.run(validate, again)
    assert result.outcome == "duplicate"
    assert first.batch_id in result.message
    assert desk.database.snapshot() == before


def test_the_same_bytes_by_force_are_another_batch(desk: TaskHarness) -> None:
    """A batch that carries the metadata of force is loaded although its bytes are there."""
    committed(desk, csv(PRICES))
    committed(desk, csv(PRICES), force=True)
    assert desk.database.one("SELECT count(*) FROM committed_prices") == 6000


def test_two_deliveries_at_the_same_moment_commit_once(desk: TaskHarness) -> None:
    """Both are loaded before either commits; one commit wins, the other ends as a duplicate and leaves nothing."""
    batches = [desk.send(csv(PRICES), key=f"incoming/{name}.csv") for name in "ab"]
    for batch in batches:
        assert desk.run(validate, batch).outcome == "accepted"
        desk.run(load, batch)
    outcomes = []
    threads = [
        threading.Thread(target=lambda batch=batch: outcomes.append(desk.run(commit, batch).outcome))
        for batch in batches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["committed", "duplicate"]
    assert desk.database.one("SELECT count(*) FROM prices") == 3000
    assert desk.database.one("SELECT count(DISTINCT batch_no) FROM rates") == 1
    assert desk.database.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'prices'::regclass") == 1


@pytest.mark.parametrize("after", [(), (validate,), (validate, load)], ids=["nothing", "validate", "load"])
def test_discard_leaves_nothing_whatever_was_done(desk: TaskHarness, after: tuple) -> None:
    """After a discard the ledger says failed, nothing else is left, and no late task can go on."""
    before = desk.database.snapshot()
    batch = desk.send(csv(PRICES))
    for task in after:
        desk.run(task, batch)
    assert [desk.run(discard, batch).outcome for _ in range(2)] == ["discarded", "discarded"]
    assert desk.database.snapshot() == before
    assert desk.state(batch) == "failed"
    for task in (validate, load, commit):
        with pytest.raises(ClosedError):
            desk.run(task, batch)
    assert desk.database.snapshot() == before


def test_discard_never_undoes_a_commit(desk: TaskHarness) -> None:
    """A commit whose answer was lost stands: discard finds it, says so, and touches nothing."""
    batch = committed(desk, csv(PRICES))
    before = desk.database.snapshot()
    assert desk.run(discard, batch).outcome == "committed"
    assert desk.database.snapshot() == before


def test_after_a_failure_the_same_file_commits(desk: TaskHarness) -> None:
    """The bytes of a batch that was discarded are no duplicate."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    desk.run(load, batch)
    desk.run(discard, batch)
    committed(desk, csv(PRICES), key="incoming/again.csv")
    assert desk.database.one("SELECT count(*) FROM committed_prices") == 3000


def test_commit_refuses_a_batch_that_was_not_loaded(desk: TaskHarness) -> None:
    """Rows that were validated but are not staged are never taken for an empty batch."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    before = desk.database.snapshot()
    with pytest.raises(TaskError, match="0 rows are staged"):
        desk.run(commit, batch)
    assert desk.database.snapshot() == before


@pytest.mark.parametrize("other", [rows(3000, seed=2), [*PRICES[1:], PRICES[0]]], ids=["other size", "other order"])
def test_load_refuses_bytes_that_were_not_validated(desk: TaskHarness, other: list) -> None:
    """When the digest is another, nothing of the copy stays."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    version = desk.aws("s3").put_object(Bucket=batch.bucket, Key=batch.key, Body=csv(other))["VersionId"]
    batch = replace(batch, version=version)
    with pytest.raises(ClosedError, match="validated: send the file again"):
        desk.run(load, batch)
    assert desk.database.one("SELECT count(*) FROM rates") == 0


def test_load_refuses_rates_that_were_not_counted(desk: TaskHarness) -> None:
    """Rates that changed in the bucket are refused, and nothing of the copy stays."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    desk.aws("s3").put_object(Bucket=desk.bucket, Key=batch.result_key("rates/0.copy"), Body=b"")
    with pytest.raises(ClosedError, match="not those that were counted"):
        desk.run(load, batch)
    assert desk.database.one("SELECT count(*) FROM rates") == 0


def test_a_version_that_is_gone_is_told_in_words(desk18: TaskHarness) -> None:
    """An object whose version was deleted is no passing fault."""
    batch = desk18.send(csv(PRICES))
    desk18.aws("s3").delete_object(Bucket=batch.bucket, Key=batch.key, VersionId=batch.version)
    with pytest.raises(ClosedError, match="is gone: send the file again"):
        desk18.run(validate, batch)


@pytest.mark.parametrize("moved", ["before the load", "after the load"])
def test_regions_that_move_under_a_batch_are_counted_right(desk: TaskHarness, moved: str) -> None:
    """A port that moves between validation and commit takes the batch's prices to its new region."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    if moved == "after the load":
        desk.run(load, batch)
    tree = reference.builtin()
    changed = reference.Reference(
        {"CNSHA": reference.Port("CNSHA", "Shanghai", "isle"), "NLRTM": reference.Port("NLRTM", "Rotterdam", "asia")},
        {"isle": reference.Region("isle", "Isle", "europe")},
    )
    connection = desk.database.connect()
    reference_change.load(connection, changed)
    connection.close()
    desk.run(load, batch)
    desk.run(commit, batch)
    merged = reference.Reference({**tree.ports, **changed.ports}, {**tree.regions, **changed.regions})
    assert visible(desk) == {key: count for key, (count, _) in daily(PRICES, merged).items()}


def test_both_ways_to_count_regions_agree(desk: TaskHarness) -> None:
    """What validation adds up and what the database adds up are the same rows."""
    batch = desk.send(csv(PRICES))
    desk.run(validate, batch)
    desk.run(load, batch)
    every = "SELECT month, orig_code, dest_code, counts, sums FROM rates ORDER BY 1, 2, 3"
    counted = desk.database.ask(every)
    connection = desk.database.connect()
    with connection, connection.cursor() as cursor:
        fit_tree(cursor, desk.database.one("SELECT max(batch_no) FROM rates"), None)
    connection.close()
    assert desk.database.ask(every) == counted


def test_crlf_bom_quotes_and_order_load_the_same_rows(desk: TaskHarness) -> None:
    """A file as spreadsheets write it is validated and copied with the same values."""
    text = "\ufeff" + "price,day,dest_code,orig_code\r\n"
    text += "".join(f'"{price}",{day},"{dest}",{orig}\r\n' for orig, dest, day, price in PRICES)
    committed(desk, text.encode())
    stored = desk.database.ask("SELECT orig_code, dest_code, day, price FROM committed_prices ORDER BY 1, 2, 3, 4")
    assert stored == sorted(PRICES)
