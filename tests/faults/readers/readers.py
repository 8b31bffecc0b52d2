"""Readers that query continuously, and record violations.

A violation is a part of a batch, a batch that disappears, regions that differ from the sum of their ports, or an older
response after a newer one.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import psycopg2

from tests.faults.campaign.contents import Content, Sums
from tests.tree import DISAGREE_IN_MONTH

# One statement, so one snapshot: every lane between ports of the content's day.
VISIBLE_SUMS = """
SELECT orig_code, dest_code, sum(counts[%(nth)s])::bigint, sum(sums[%(nth)s])::bigint
FROM rates JOIN unnest(%(origs)s::text[], %(dests)s::text[]) AS lane (orig, dest)
  ON orig_code = orig COLLATE "C" AND dest_code = dest COLLATE "C"
WHERE month = %(month)s AND batch_no IN (SELECT batch_no FROM visible_batches)
GROUP BY orig_code, dest_code HAVING sum(counts[%(nth)s]) <> 0
"""
PAUSE_SECONDS = 0.03


def visible_sums(cursor: "psycopg2.extensions.cursor", content: Content) -> Sums:
    """Return the visible count and sum of a content on each of its lanes between ports."""
    origs, dests = zip(*content.port_sums, strict=True)
    day = content.day
    cursor.execute(
        VISIBLE_SUMS, {"nth": day.day, "month": day.replace(day=1), "origs": list(origs), "dests": list(dests)}
    )
    return {(orig, dest): (count, total) for orig, dest, count, total in cursor.fetchall()}


class Reader(threading.Thread):
    """Chooses a content, reads it, and records whether it is whole, absent, or wrong."""

    def __init__(self, name: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.choose = choose
        self.reads: Counter[str] = Counter()
        self.violations: list[str] = []
        self.may_disappear: Callable[[Content], bool] = lambda _: False
        self.copies: Callable[[Content], int] = lambda _: 1
        self._whole: set[int] = set()
        self._random = random.Random(seed)
        self._end = threading.Event()

    def stop(self) -> None:
        """Stop reading."""
        self._end.set()
        self.join(30)

    def run(self) -> None:
        """Read until `stop`; an unavailable database or service is queried again."""
        while not self._end.wait(PAUSE_SECONDS):
            content = self.choose(self._random)
            if content is not None:
                try:
                    self.read(content)
                except Exception as error:  # noqa: BLE001 any unexpected failure is a violation
                    self.violations.append(f"{self.name}: {type(error).__name__}: {error}")

    def read(self, content: Content) -> None:
        """Read one content."""
        raise NotImplementedError

    def whole(self, content: Content) -> None:
        """Record that all of a content was visible."""
        self.reads["whole"] += 1
        self._whole.add(content.number)

    def none(self, content: Content) -> None:
        """Record that nothing of a content was visible."""
        self.reads["none"] += 1
        if content.number in self._whole and not self.may_disappear(content):
            self.violations.append(f"{self.name}: content {content.number} was visible, and has disappeared")
        self._whole.discard(content.number)

    def part(self, content: Content, what: str) -> None:
        """Record that something else was visible."""
        self.reads["part"] += 1
        self.violations.append(f"{self.name}: part of content {content.number}: {what}")


class SqlReader(Reader):
    """Reads the API's table on the primary or on a standby."""

    def __init__(self, name: str, url: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__(name, choose, seed)
        self.url = url
        self._connection: psycopg2.extensions.connection | None = None

    def read(self, content: Content) -> None:
        """Query once; count the failures of an unavailable server and of conflicts with replay, for a later retry."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg2.connect(self.url, connect_timeout=3)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                found = visible_sums(cursor, content)
                cursor.execute(DISAGREE_IN_MONTH, {"month": content.day.replace(day=1)})
                disagree = cursor.fetchall()
        except psycopg2.Error:
            self.reads["unavailable"] += 1
            if self._connection is not None:
                self._connection.close()
            time.sleep(0.05)
            return
        self.reads["snapshots"] += 1
        self.violations.extend(f"{self.name}: regions and ports disagree: {row}" for row in disagree[:3])
        self._compare(content, found)

    def _compare(self, content: Content, found: Sums) -> None:
        if not found:
            return self.none(content)
        for times in range(1, self.copies(content) + 1):
            if found == {lane: (times * count, times * total) for lane, (count, total) in content.port_sums.items()}:
                return self.whole(content)
        right = sum(found.get(lane) == sums for lane, sums in content.port_sums.items())
        return self.part(content, f"{right} of {len(content.port_sums)} lanes")
