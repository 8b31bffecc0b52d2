"""The invariants that are checked after each round, against a recount of the uploaded files."""

import json
import math
import time
from collections import Counter
from typing import Any
from urllib.request import urlopen

from ratesflow.database.reference import Reference
from tests.faults.campaign.chaos_stack import ChaosStack
from tests.faults.campaign.contents import Content
from tests.faults.campaign.queries import query
from tests.faults.readers.snapshots import find_violations, regressions, take_snapshot

LEDGER = "SELECT batch_id, state, rejected_rows, forced, coalesce(message, '') FROM batches"
ENDS = {"committed", "rejected", "duplicate", "failed", "undone"}
LEFTOVERS = """
SELECT 'table ' || relname FROM pg_class
WHERE relkind = 'r' AND relname ~ '^staging_[0-9]+$'
  AND NOT EXISTS (SELECT FROM batches WHERE relname = 'staging_' || batch_no AND state = 'committed')
UNION ALL
SELECT DISTINCT 'rates of batch ' || batch_no FROM rates
WHERE batch_no <> 0 AND batch_no NOT IN (SELECT batch_no FROM visible_batches)
UNION ALL
SELECT 'open batch ' || visible_batches.batch_no FROM visible_batches
LEFT JOIN batches ON batches.batch_no = abs(visible_batches.batch_no)
WHERE visible_batches.batch_no <> 0 AND visible_batches.batch_no < 1::bigint << 62  -- above: tree changes
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


def check(chaos: ChaosStack, notified: dict[str, list[str]], published: dict[str, bool]) -> list[str]:
    """Return all violations.

    `notified` are the received notification ids by batch. `published` is whether the execution's history has a
    published notification, by batch (the embedded queue is lost when the embedded AWS is killed).
    """
    now = take_snapshot(chaos.owner_url)
    sent = {name: upload.content for name, upload in chaos.uploads.items()}
    violations = [*find_violations(now, sent), *(regressions(chaos.before, now) if chaos.before else [])]
    if now.tree not in chaos.trees:
        violations.append("the region tree is not one of the expected ones")
    chaos.before = now
    committed = [name for name, entry in now.ledger.items() if entry.state == "committed"]
    visible = Counter(sent[name].number for name in committed if name in sent)
    return [
        *violations,
        *_outcomes(chaos),
        *(each for url in chaos.api_urls for each in _api_violations(chaos, url, now.tree, visible)),
        *_notifications({name: entry.state for name, entry in now.ledger.items()}, notified, published),
        *leftovers(chaos),
    ]


def _outcomes(chaos: ChaosStack) -> list[str]:
    ledger = {row[0]: row[1:] for row in query(chaos.owner_url, LEDGER)}
    violations = [f"{name} is in the ledger, but was not uploaded" for name in sorted(set(ledger) - set(chaos.uploads))]
    for name, upload in chaos.uploads.items():
        if name not in ledger:
            violations.append(f"{name} has no outcome: it is not in the ledger")
            continue
        state, rejected, forced, message = ledger[name]
        valid = not upload.content.bad_line
        if state not in ENDS:
            violations.append(f"{name} has no outcome: it is {state}")
        if (state in ("committed", "duplicate", "undone") and not valid) or (state == "rejected" and valid):
            violations.append(f"{name} is {state}, which contradicts its file: {message}")
        if state == "committed" and (rejected or forced != upload.forced):
            violations.append(f"{name}: the ledger has {rejected} rejected rows and forced = {forced}")
        if state == "rejected" and f"line {upload.content.bad_line}" not in message:
            violations.append(f"{name} was rejected for another reason: {message}")
        if state == "failed" and not message:
            violations.append(f"{name} failed without a message")
    return violations


def _api_violations(chaos: ChaosStack, url: str, tree: Reference, visible: Counter[int]) -> list[str]:
    """Query an API for some new and some old contents; it may lag by some seconds."""
    chosen = chaos.contents[-6:] + [chaos.rng.choice(chaos.contents) for _ in range(4)]
    violations = []
    for content in chosen:
        sums = content.sums_in(tree)
        lane = chaos.rng.choice(sorted(sums))
        count, total = sums[lane]
        times = visible[content.number]
        expected = (count * times, total / count if count * times >= 3 else None) if times else (None, None)
        deadline = time.monotonic() + 15
        while not _equals(found := _rate(url, content, lane), expected) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not _equals(found, expected):
            violations.append(
                f"the API at {url} returns {found} for content {content.number} on {lane}, not {expected}"
            )
    return violations


def _equals(found: tuple[Any, Any], expected: tuple[Any, Any]) -> bool:
    return found == expected or (found[0] == expected[0] and found[1] and math.isclose(found[1], expected[1] or 0))


def _rate(url: str, content: Content, lane: tuple[str, str]) -> tuple[Any, Any]:
    query = f"date_from={content.day}&date_to={content.day}&orig_code={lane[0]}&dest_code={lane[1]}"
    try:
        with urlopen(f"{url}/rates?{query}", timeout=10) as response:
            (rate,) = json.load(response)["rates"]
    except OSError as error:
        return str(error), None
    return rate["count"], rate["price"]


def _notifications(states: dict[str, str], notified: dict[str, list[str]], published: dict[str, bool]) -> list[str]:
    violations = []
    for name, state in states.items():
        # An undone batch was usually notified as committed before.
        outcomes = ("committed", "undone") if state == "undone" else (state,)
        ids = set(notified.get(name, ()))
        if not ids and not published.get(name):
            violations.append(f"{name} is {state}, but was not notified")
        elif ids - {f"{name}:{outcome}" for outcome in outcomes}:
            violations.append(f"{name} is {state}, but was notified as {sorted(ids)}")
    return violations


def leftovers(chaos: ChaosStack) -> list[str]:
    """Return what remains of finished work: tables, rates, sessions, locks, processes."""
    deadline = time.monotonic() + 15
    while (found := _find_leftovers(chaos)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"leftover: {each}" for each in found]


def _find_leftovers(chaos: ChaosStack) -> list[str]:
    tasks = [f"process {process.pid}" for process in chaos.tasks()]
    return [each for (each,) in query(chaos.owner_url, LEFTOVERS)] + tasks
