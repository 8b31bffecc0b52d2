"""Snapshots of a database, and their violations by a recount of the files."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg2

from ratesflow.database.lanes import bucket, buckets
from ratesflow.database.reference import Reference, stored
from tests.faults.campaign.contents import Content
from tests.tree import DISAGREE

# Numbers in `changes` and `visible_batches` that are not batch numbers belong to changes of the region tree.
RATES = """
SELECT orig_code, dest_code, month + (nth - 1)::integer, sum(count)::bigint, sum(sum)::bigint
FROM rates CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS days (count, sum, nth)
WHERE batch_no IN (SELECT batch_no FROM visible_batches)
GROUP BY 1, 2, 3 HAVING sum(count) <> 0 OR sum(sum) <> 0
"""
_BATCHES = """
SELECT batch_id, batch_no, state, forced, rows, key || ' ' || batches.version, changes.version
FROM batches LEFT JOIN changes USING (batch_no)
"""
_PRICES = "SELECT batch_no, orig_code, dest_code, day, price FROM committed_prices"
_CHANGES = "SELECT batch_no, version, lanes FROM changes WHERE version IS NOT NULL"
_DIFFERENT = """
SELECT visible_batches.batch_no FROM visible_batches LEFT JOIN changes USING (batch_no)
WHERE visible_batches.batch_no <> 0 AND visible_batches.version IS DISTINCT FROM changes.version
"""


@dataclass(frozen=True)
class Entry:
    """A row of the ledger; `bytes_of` is the object's key and version, `version` the data version of its commit."""

    batch_no: int
    state: str
    forced: bool
    rows: int | None
    bytes_of: str
    version: int | None


@dataclass(frozen=True)
class Snapshot:
    """The contents of one snapshot; `changes` are the data version and the lanes of each change."""

    version: tuple[str, int]
    ledger: Mapping[str, Entry]
    tree: Reference
    rates: Mapping[tuple[str, str, date], tuple[int, int]]
    prices: Mapping[int, Counter[Any]]
    changes: Mapping[int, tuple[int, bytes | None]]
    disagree: list[Any]
    misplaced: list[Any]


def take_snapshot(url: str) -> Snapshot:
    """Take a snapshot of a writable database as its owner."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.set_session("REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            # Dropped or merged tables disappear from every snapshot: the lock keeps them.
            cursor.execute("LOCK TABLE prices IN ACCESS SHARE MODE")
            return read_snapshot(cursor)


def read_snapshot(cursor: "psycopg2.extensions.cursor") -> Snapshot:
    """Return the snapshot of the cursor's transaction."""

    def rows(query: str) -> list[Any]:
        cursor.execute(query)
        return cursor.fetchall()

    ((epoch, number),) = rows("SELECT epoch::text, version FROM data_version")
    prices: dict[int, Counter[Any]] = {}
    for batch_no, *row in rows(_PRICES):
        prices.setdefault(batch_no, Counter())[tuple(row)] += 1
    return Snapshot(
        (epoch, number),
        {name: Entry(*row) for name, *row in rows(_BATCHES)},
        stored(cursor)[0],
        {(orig, dest, day): (count, total) for orig, dest, day, count, total in rows(RATES)},
        prices,
        {batch_no: (version, lanes and bytes(lanes)) for batch_no, version, lanes in rows(_CHANGES)},
        rows(DISAGREE),
        rows(_DIFFERENT),
    )


def find_violations(snapshot: Snapshot, sent: Mapping[str, Content]) -> list[str]:
    """Return the violations in a snapshot, by the contents of the sent batches."""
    committed = {name: entry for name, entry in snapshot.ledger.items() if entry.state == "committed"}
    uploaded = {name: sent[name] for name in committed if name in sent}
    versions = Counter(version for version, _ in snapshot.changes.values())
    return [
        *(f"{name} is committed, but was not sent" for name in committed.keys() - uploaded.keys()),
        *_prices(snapshot, committed, uploaded),
        *_rates(snapshot, uploaded.values()),
        *(f"regions and ports disagree: {row}" for row in snapshot.disagree[:5]),
        *_committed_again(committed, uploaded),
        *(f"version {number} has {versions[number]} changes" for number in _without_one_change(snapshot, versions)),
        *(f"batch {number} is visible from another version than its change" for (number,) in snapshot.misplaced),
    ]


def _prices(snapshot: Snapshot, committed: Mapping[str, Entry], uploaded: Mapping[str, Content]) -> Iterable[str]:
    for name, content in uploaded.items():
        entry, expected = committed[name], Counter(content.prices)
        found = snapshot.prices.get(entry.batch_no, Counter())
        if found != expected or entry.rows != expected.total():
            lost, more = (expected - found).total(), (found - expected).total()
            yield f"{name} of {entry.rows} rows: {lost} of its prices are lost, {more} are doubled or unexpected"


def _rates(snapshot: Snapshot, contents: Iterable[Content]) -> Iterable[str]:
    expected: dict[tuple[str, str, date], tuple[int, int]] = {}
    for content in contents:
        for lane, (count, total) in content.sums_in(snapshot.tree).items():
            before = expected.get((*lane, content.day), (0, 0))
            expected[*lane, content.day] = before[0] + count, before[1] + total
    differ = [key for key in expected.keys() | snapshot.rates.keys() if expected.get(key) != snapshot.rates.get(key)]
    for key in sorted(differ)[:5]:
        yield f"rate {key}: {snapshot.rates.get(key)} instead of {expected.get(key)}"
    if len(differ) > 5:
        yield f"… {len(differ)} rates are wrong in all"


def _committed_again(committed: Mapping[str, Entry], uploaded: Mapping[str, Content]) -> Iterable[str]:
    """Yield contents that are committed twice although the second batch was not forced, or is the same object."""
    of_bytes: dict[Content, list[Entry]] = {}
    for name, content in uploaded.items():
        of_bytes.setdefault(content, []).append(committed[name])
    for content, entries in of_bytes.items():
        entries.sort(key=lambda entry: entry.version or 0)
        again = [entry.batch_no for entry in entries[1:] if not entry.forced]
        if again or len({entry.bytes_of for entry in entries}) < len(entries):
            cause = again or "the same object"
            yield f"content {content.number} is committed {len(entries)} times, not forced by {cause}"


def _without_one_change(snapshot: Snapshot, versions: Counter[int]) -> list[int]:
    """Return the data versions that do not have exactly one change; old changes are deleted."""
    first = min(versions, default=snapshot.version[1] + 1)
    expected = range(first, snapshot.version[1] + 1)
    return [number for number in {*expected, *versions} if number not in expected or versions[number] != 1]


def regressions(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the changes from a snapshot to a later one that are not allowed."""
    (epoch, old), (now, new) = before.version, after.version
    violations = [f"the data version went from {old} to {new}"] if epoch == now and new < old else []
    changed = [number for number, change in before.changes.items() if after.changes.get(number, change) != change]
    violations += [f"the change of batch {number} was recorded again" for number in changed]
    between = [lanes for version, lanes in after.changes.values() if version > old]
    if None not in between:
        recorded = {bit for lanes in between if lanes for bit in buckets(lanes)}
        rates = before.rates.keys() | after.rates.keys()
        differ = {key[:2] for key in rates if before.rates.get(key) != after.rates.get(key)}
        missing = [lane for lane in sorted(differ) if bucket(*lane) not in recorded]
        violations += [f"the rates of {lane} changed without a recorded change" for lane in missing[:3]]
    return violations
