"""What must hold after each round, looked at from outside and counted anew from the files that were sent."""

import json
import time
from collections import Counter
from typing import Any
from urllib.request import urlopen

from tests.faults.contents import Content
from tests.faults.field import Field, asked
from tests.faults.snapshots import RATES

ENDS = {"committed", "rejected", "duplicate", "failed", "undone"}
LEDGER = "SELECT batch_id, batch_no, state, rows, rejected_rows, coalesce(message, '') FROM batches"
PRICES = "SELECT batch_no, orig_code, dest_code, day, price FROM prices"
LEFT = """
SELECT 'table ' || relname FROM pg_class
WHERE relkind = 'r' AND relname ~ '^staging_[0-9]+$'
  AND NOT EXISTS (SELECT FROM batches WHERE relname = 'staging_' || batch_no AND state = 'committed')
UNION ALL
SELECT DISTINCT 'rates of batch ' || batch_no FROM rates
WHERE batch_no <> 0 AND batch_no NOT IN (SELECT batch_no FROM open_batches)
UNION ALL
SELECT 'open batch ' || open_batches.batch_no FROM open_batches
LEFT JOIN batches ON batches.batch_no = abs(open_batches.batch_no)
WHERE open_batches.batch_no <> 0 AND open_batches.batch_no < 1::bigint << 62  -- from there on changes of the tree
  AND coalesce(state, '') NOT IN (SELECT unnest(ARRAY['committed', 'undone']))
UNION ALL
SELECT 'hidden rates of ' || batch_no FROM changes WHERE version IS NULL
UNION ALL
SELECT 'session ' || application_name || ': ' || state FROM pg_stat_activity
WHERE starts_with(application_name, 'ratesflow-') AND starts_with(usename::text, 'loader')
UNION ALL
SELECT 'lock ' || locktype || ' ' || mode FROM pg_locks
WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (locktype = 'advisory' OR NOT granted)
"""


def check(field: Field, notified: dict[str, list[str]], published: dict[str, bool]) -> list[str]:
    """Return everything that is wrong; nothing, if all is well.

    `notified` are the notification ids that arrived, by batch; `published` says of a batch without one whether its
    execution's history has it as sent (the embedded queue is lost when the embedded AWS is killed).
    """
    ledger = {row[0]: row[1:] for row in asked(field.owner_url, LEDGER)}
    committed = {
        name: field.uploads[name].content
        for name, (_, state, *_rest) in ledger.items()
        if state == "committed" and name in field.uploads
    }
    return [
        *_outcomes(field, ledger),
        *_prices(field, ledger),
        *_rates(field, committed),
        *_answers(field, committed),
        *_notifications(ledger, notified, published),
        *left(field),
    ]


def _outcomes(field: Field, ledger: dict[str, tuple[Any, ...]]) -> list[str]:
    wrong = [f"{name} is in the ledger, but nobody sent it" for name in sorted(set(ledger) - set(field.uploads))]
    times = Counter(
        field.uploads[name].content.number
        for name, (_, state, *_rest) in ledger.items()
        if state == "committed" and name in field.uploads
    )
    wrong += [f"content {number} is committed {count} times" for number, count in times.items() if count > 1]
    for name, upload in field.uploads.items():
        if name not in ledger:
            wrong.append(f"{name} has no outcome: it is not in the ledger")
            continue
        _, state, rows, refused, message = ledger[name]
        good = not upload.content.bad_line
        if state not in ENDS:
            wrong.append(f"{name} has no outcome: it is {state}")
        if (state in ("committed", "duplicate", "undone") and not good) or (state == "rejected" and good):
            wrong.append(f"{name} is {state}, which its file cannot be: {message}")
        if state == "committed" and (rows, refused) != (upload.content.rows, 0):
            wrong.append(f"{name}: the ledger counts {rows} rows of {upload.content.rows}, {refused} refused")
        if state == "rejected" and f"line {upload.content.bad_line}" not in message:
            wrong.append(f"{name} was rejected for another reason: {message}")
        if state == "failed" and not message:
            wrong.append(f"{name} failed without a word")
    return wrong


def _prices(field: Field, ledger: dict[str, tuple[Any, ...]]) -> list[str]:
    found: dict[int, Counter[Any]] = {}
    for number, *row in asked(field.owner_url, PRICES):
        found.setdefault(number, Counter())[tuple(row)] += 1
    wrong = []
    for name, (number, state, *_) in ledger.items():
        rows = found.pop(number, Counter())
        expected = Counter(field.uploads[name].content.prices if state == "committed" and name in field.uploads else [])
        if rows != expected:
            lost, more = (expected - rows).total(), (rows - expected).total()
            wrong.append(f"{name} is {state}: {lost} of its prices are lost, {more} are doubled or strange")
    return wrong + [
        f"{rows.total()} prices of batch {number}, which is not in the ledger" for number, rows in found.items()
    ]


def _rates(field: Field, committed: dict[str, Content]) -> list[str]:
    expected = {(*lane, content.day): sums for content in committed.values() for lane, sums in content.sums.items()}
    found = {(orig, dest, day): (count, total) for orig, dest, day, count, total in asked(field.owner_url, RATES)}
    differ = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    return [f"rate {key}: {found.get(key)} instead of {expected.get(key)}" for key in sorted(differ)[:5]] + (
        [f"… {len(differ)} rates are wrong in all"] if len(differ) > 5 else []
    )


def _answers(field: Field, committed: dict[str, Content]) -> list[str]:
    """Ask the API for some contents, new ones and old ones; it may be some seconds behind."""
    there = {content.number for content in committed.values()}
    chosen = field.contents[-6:] + [field.rng.choice(field.contents) for _ in range(4)]
    wrong = []
    for content in chosen:
        lane = field.rng.choice(sorted(content.sums))
        count, total = content.sums[lane] if content.number in there else (None, 0)
        expected = (count, total / count if count and count >= 3 else None)
        deadline = time.monotonic() + 15
        while (found := _answer(field, content, lane)) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        if found != expected:
            wrong.append(f"the API says {found} of content {content.number} on {lane}, not {expected}")
    return wrong


def _answer(field: Field, content: Content, lane: tuple[str, str]) -> tuple[Any, Any]:
    query = f"date_from={content.day}&date_to={content.day}&orig_code={lane[0]}&dest_code={lane[1]}"
    try:
        with urlopen(f"{field.environment['RATESFLOW_API_URL']}/rates?{query}", timeout=10) as answer:
            (rate,) = json.load(answer)["rates"]
    except OSError as error:
        return str(error), None
    return rate["count"], rate["price"]


def _notifications(
    ledger: dict[str, tuple[Any, ...]], notified: dict[str, list[str]], published: dict[str, bool]
) -> list[str]:
    wrong = []
    for name, (_, state, *_rest) in ledger.items():
        # Mostly it was told of as committed, and undone later.
        outcomes = ("committed", "undone") if state == "undone" else (state,)
        ids = set(notified.get(name, ()))
        if not ids and not published.get(name):
            wrong.append(f"nobody was told of {name}, which is {state}")
        elif ids - {f"{name}:{outcome}" for outcome in outcomes}:
            wrong.append(f"{name} is {state}, and was told of as {sorted(ids)}")
    return wrong


def left(field: Field) -> list[str]:
    """Return what is left of work that is over: tables, rates, sessions, locks, processes."""
    deadline = time.monotonic() + 15
    while (found := _left(field)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"left: {what}" for what in found]


def _left(field: Field) -> list[str]:
    tasks = [f"process {process.pid}" for process in field.tasks()]
    return [what for (what,) in asked(field.owner_url, LEFT)] + tasks
