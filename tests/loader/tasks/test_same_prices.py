"""The same prices in different bytes are committed with a notice; a duplicate's message names the first batch."""

import re
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.freight.rates import RateCounts
from ratesflow.loader.freight.rates_digest import RatesDigest, rates_digest
from ratesflow.loader.freight.rows import Rows
from ratesflow.loader.runtime.connection import connected
from ratesflow.loader.tasks.commit import commit
from ratesflow.loader.tasks.load import load
from ratesflow.loader.tasks.undo import undo
from ratesflow.loader.tasks.validate import validate
from tests.loader import samples
from tests.loader.conftest import TaskHarness
from tests.loader.files.test_formats import FORMATS, run_all

PORTS = ["CNSHA", "NLRTM", "USNYC"]
FIRST = date(2021, 1, 1).toordinal()
prices = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 70), st.integers(1, 2**31 - 1))


def words(rows: list[tuple[int, ...]], ports: list[str]) -> list[int]:
    """Return the words of a shard with these prices; ports are given by their place in PORTS."""
    counts = RateCounts()
    numbers = [ports.index(port) + 1 for port in PORTS]
    for at in range(0, len(rows), 3):
        columns = zip(
            *((numbers[o], numbers[d], FIRST + day, price) for o, d, day, price in rows[at : at + 3]), strict=True
        )
        counts.add(Rows(*(np.array(column, dtype=np.int64) for column in columns)))
    digest = RatesDigest(ports)
    for _ in digest.watched(counts.read()):
        pass
    return digest.words


@given(st.lists(prices, max_size=30), st.randoms(), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_order_shards_and_other_ports_make_no_difference(rows: list, chance: Any, shards: int) -> None:
    """A batch in shards, with its rows in any order and with more ports in the reference data, has one digest."""
    whole = rates_digest([words(rows, PORTS)])
    mixed = chance.sample(rows, len(rows))
    more = ["AAAAA", "CNSHA", "DEHAM", "NLRTM", "USNYC", "ZZZZZ"]
    assert rates_digest([words(mixed[shard::shards], more) for shard in range(shards)]) == whole
    assert re.fullmatch("[0-9a-f]{32}", whole)


@given(st.lists(prices, min_size=1, max_size=10), st.integers(0, 3), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_another_price_day_or_lane_makes_a_difference(rows: list, column: int, step: int) -> None:
    """One value of one row is enough, one row more, or origin and destination exchanged."""
    first = list(rows[0])
    first[column] = (first[column] + step) % 3 if column < 2 else first[column] + step
    whole = rates_digest([words(rows, PORTS)])
    assert (rates_digest([words([tuple(first), *rows[1:]], PORTS)]) == whole) == (tuple(first) == rows[0])
    assert rates_digest([words([*rows, rows[0]], PORTS)]) != whole
    turned = [(dest, orig, *rest) for orig, dest, *rest in rows]
    assert (rates_digest([words(turned, PORTS)]) == whole) == (sorted(_daily(turned)) == sorted(_daily(rows)))


def _daily(rows: list) -> list[tuple[Any, ...]]:
    found: dict[tuple[int, ...], list[int]] = {}
    for orig, dest, day, price in rows:
        found.setdefault((orig, dest, day), []).append(price)
    return [(lane, len(known), sum(known)) for lane, known in found.items()]


def taken(harness: TaskHarness, data: bytes, key: str, shards: int = 1, **sending: Any) -> Any:
    """Take a batch all the way; return it and the answer of its commit."""
    batch = harness.send(data, key=key, **sending)
    assert run_all(harness, validate, batch, shards).outcome == "accepted"
    run_all(harness, load, batch, shards)
    return batch, harness.run(commit, batch)


def noted(harness: TaskHarness) -> list[int | None]:
    """Return for each batch in the ledger the other batch with the same prices."""
    return [same for (same,) in harness.database.query("SELECT same_prices_as FROM batches ORDER BY batch_no")]


@pytest.mark.usefixtures("small_parts")
def test_the_same_prices_in_different_bytes_are_committed_with_a_notice(harness: TaskHarness) -> None:
    """Compressed, in another order or format, in one or more shards: result and ledger name the first batch."""
    first, plain = taken(harness, FORMATS["csv"], "incoming/plain.csv")
    assert plain.message == ""
    for name, shards in (("crlf.csv", 1), ("csv.gz", 1), ("jsonl", 3), ("parquet", 3)):
        batch, result = taken(harness, FORMATS[name], f"incoming/{name}", shards)
        assert result.outcome == "committed"
        assert result.message.startswith(f"the same prices as batch {first.batch_id} (file incoming/plain.csv, ")
        assert "both count; remove one with `ratesflow undo`" in result.message
        assert harness.run(commit, batch).message == result.message  # a lost answer is given again
        assert harness.database.one("SELECT message FROM batches WHERE batch_id = %s", batch.batch_id) == result.message
    assert noted(harness) == [None, 1, 1, 1, 1]
    assert harness.database.one("SELECT count(DISTINCT rates_digest) FROM batches") == 1
    other = [*samples.rows(50, seed=3)]
    _, result = taken(harness, samples.csv(other), "incoming/other.csv")
    _, result_again = taken(
        harness, samples.csv([*other[:-1], (*other[-1][:3], other[-1][3] + 1)]), "incoming/corrected.csv"
    )
    assert (result.message, result_again.message) == ("", "")


def test_only_what_still_counts_is_named(harness18: TaskHarness) -> None:
    """A batch that is undone, or was forced with the same bytes, is not named."""
    first, _ = taken(harness18, FORMATS["csv"], "incoming/a.csv")
    _, again = taken(harness18, FORMATS["csv"], "incoming/b.csv", force=True)
    assert again.message == ""
    late = harness18.send(FORMATS["jsonl"], key="incoming/c.jsonl")
    assert first.batch_id in harness18.run(validate, late).message
    harness18.run(load, late)
    with connected("undo") as connection:
        undo(connection, "run", first.batch_id, FreightPrices())
    assert "file incoming/b.csv" in harness18.run(commit, late).message
    assert noted(harness18) == [None, None, 2]


def test_of_two_loaded_at_once_the_second_commit_names_the_first(harness18: TaskHarness) -> None:
    """Neither was committed when the other was validated: the commit decides."""
    batches = [harness18.send(FORMATS[name], key=f"incoming/{name}") for name in ("csv", "jsonl")]
    for batch in batches:
        assert harness18.run(validate, batch).message == ""
        harness18.run(load, batch)
    first, second = (harness18.run(commit, batch).message for batch in batches)
    assert (first, batches[0].batch_id in second) == ("", True)


def test_the_message_of_a_duplicate_names_the_first_file_and_its_time(harness18: TaskHarness) -> None:
    """The message names batch, file and time, at validation and at commit."""
    batches = [harness18.send(FORMATS["csv"], key=f"incoming/{name}.csv") for name in ("one", "two\x1b")]
    for batch in batches:
        harness18.run(validate, batch)
        harness18.run(load, batch)
    harness18.run(commit, batches[1])
    third = harness18.send(FORMATS["csv"], key="incoming/three.csv")
    for task, batch in ((commit, batches[0]), (validate, third)):
        result = harness18.run(task, batch)
        assert result.outcome == "duplicate"
        first = f"by batch {batches[1].batch_id} (file incoming/two\\x1b.csv, committed on "
        moment = result.message.removeprefix(f"the same bytes were committed already, {first}")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC\)", moment)
