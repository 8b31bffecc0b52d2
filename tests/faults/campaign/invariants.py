"""What must hold after each round, looked at from outside and counted anew from the files that were sent."""

import json
import math
import time
from collections import Counter
from typing import Any
from urllib.request import urlopen

from ratesflow.database.reference import Reference
from tests.faults.campaign.chaos_stack import Field
from tests.faults.campaign.contents import Content
from tests.faults.campaign.queries import asked
from tests.faults.readers.snapshots import faults, look, steps_back

LEDGER = "SELECT batch_id, state, rejected_rows, forced, coalesce(message, '') FROM batches"
ENDS = {"committed", "rejected", "duplicate", "failed", "undone"}
LEFT = """
SELECT 'table ' || relname FROM pg_class
WHERE relkind = 'r' AND relname ~ '^staging_[0-9]+$'
  AND NOT EXISTS (SELECT FROM batches WHERE relname = 'staging_' || batch_no AND state = 'committed')
UNION ALL
SELECT DISTINCT 'rates of batch ' || batch_no FROM rates
WHERE batch_no <> 0 AND batch_no NOT IN (SELECT batch_no FROM visible_batches)
UNION ALL
SELECT 'open batch ' || visible_batches.batch_no FROM visible_batches
LEFT JOIN batches ON batches.batch_no = abs(visible_batches.batch_no)
WHERE visible_batches.batch_no <> 0 AND visible_batches.batch_no < 1::bigint << 62  -- from there on changes of the tree
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
    now = look(field.owner_url)
    sent = {name: upload.content for name, upload in field.uploads.items()}
    wrong = [*faults(now, sent), *(steps_back(field.before, now) if field.before else [])]
    if now.tree not in field.trees:
        wrong.append("the tree of regions is none that was asked for")
    field.before = now
    committed = [name for name, entry in now.ledger.items() if entry.state == "committed"]
    there = Counter(sent[name].number for name in committed if name in sent)
    return [
        *wrong,
        *_outcomes(field),
        *(each for url in field.api_urls for each in _answers(field, url, now.tree, there)),
        *_notifications({name: entry.state for name, entry in now.ledger.items()}, notified, published),
        *left(field),
    ]


def _outcomes(field: Field) -> list[str]:
    ledger = {row[0]: row[1:] for row in asked(field.owner_url, LEDGER)}
    wrong = [f"{name} is in the ledger, but nobody sent it" for name in sorted(set(ledger) - set(field.uploads))]
    for name, upload in field.uploads.items():
        if name not in ledger:
            wrong.append(f"{name} has no outcome: it is not in the ledger")
            continue
        state, refused, forced, message = ledger[name]
        good = not upload.content.bad_line
        if state not in ENDS:
            wrong.append(f"{name} has no outcome: it is {state}")
        if (state in ("committed", "duplicate", "undone") and not good) or (state == "rejected" and good):
            wrong.append(f"{name} is {state}, which its file cannot be: {message}")
        if state == "committed" and (refused or forced != upload.forced):
            wrong.append(f"{name}: the ledger counts {refused} refused rows, and says that it was forced: {forced}")
        if state == "rejected" and f"line {upload.content.bad_line}" not in message:
            wrong.append(f"{name} was rejected for another reason: {message}")
        if state == "failed" and not message:
            wrong.append(f"{name} failed without a word")
    return wrong


def _answers(field: Field, url: str, tree: Reference, there: Counter[int]) -> list[str]:
    """Ask an API for some contents, new ones and old ones; it may be some seconds behind."""
    chosen = field.contents[-6:] + [field.rng.choice(field.contents) for _ in range(4)]
    wrong = []
    for content in chosen:
        sums = content.sums_in(tree)
        lane = field.rng.choice(sorted(sums))
        count, total = sums[lane]
        times = there[content.number]
        expected = (count * times, total / count if count * times >= 3 else None) if times else (None, None)
        deadline = time.monotonic() + 15
        while not _same(found := _answer(url, content, lane), expected) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not _same(found, expected):
            wrong.append(f"the API at {url} says {found} of content {content.number} on {lane}, not {expected}")
    return wrong


def _same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> bool:
    return found == expected or (found[0] == expected[0] and found[1] and math.isclose(found[1], expected[1] or 0))


def _answer(url: str, content: Content, lane: tuple[str, str]) -> tuple[Any, Any]:
    query = f"date_from={content.day}&date_to={content.day}&orig_code={lane[0]}&dest_code={lane[1]}"
    try:
        with urlopen(f"{url}/rates?{query}", timeout=10) as answer:
            (rate,) = json.load(answer)["rates"]
    except OSError as error:
        return str(error), None
    return rate["count"], rate["price"]


def _notifications(states: dict[str, str], notified: dict[str, list[str]], published: dict[str, bool]) -> list[str]:
    wrong = []
    for name, state in states.items():
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
