"""Readers that look all the time, and keep what no reader may ever see.

That is a part of a batch, one that is gone again, regions that are not the sum of their ports, an older answer after
a newer one.
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
SEEN = """
SELECT orig_code, dest_code, sum(counts[%(nth)s])::bigint, sum(sums[%(nth)s])::bigint
FROM rates JOIN unnest(%(origs)s::text[], %(dests)s::text[]) AS lane (orig, dest)
  ON orig_code = orig COLLATE "C" AND dest_code = dest COLLATE "C"
WHERE month = %(month)s AND batch_no IN (SELECT batch_no FROM visible_batches)
GROUP BY orig_code, dest_code HAVING sum(counts[%(nth)s]) <> 0
"""
PAUSE_SECONDS = 0.03


def seen(cursor: "psycopg2.extensions.cursor", content: Content) -> Sums:
    """Return count and sum of a content on each of its lanes, as a reader sees them now, between ports."""
    origs, dests = zip(*content.port_sums, strict=True)
    day = content.day
    cursor.execute(SEEN, {"nth": day.day, "month": day.replace(day=1), "origs": list(origs), "dests": list(dests)})
    return {(orig, dest): (count, total) for orig, dest, count, total in cursor.fetchall()}


class Reader(threading.Thread):
    """Chooses a content, looks at it, and notes whether it is whole, gone, or wrong."""

    def __init__(self, name: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.choose = choose
        self.looked: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.may_go: Callable[[Content], bool] = lambda _: False
        self.copies: Callable[[Content], int] = lambda _: 1
        self._whole: set[int] = set()
        self._random = random.Random(seed)
        self._end = threading.Event()

    def stop(self) -> None:
        """Stop looking."""
        self._end.set()
        self.join(30)

    def run(self) -> None:
        """Look until told to stop; a database or a service that is away is asked again."""
        while not self._end.wait(PAUSE_SECONDS):
            content = self.choose(self._random)
            if content is not None:
                try:
                    self.look(content)
                except Exception as error:  # noqa: BLE001 a reader that fails has seen what nobody thought of
                    self.wrong.append(f"{self.name}: {type(error).__name__}: {error}")

    def look(self, content: Content) -> None:
        """Look at one content."""
        raise NotImplementedError

    def whole(self, content: Content) -> None:
        """Note that all of a content was there."""
        self.looked["whole"] += 1
        self._whole.add(content.number)

    def none(self, content: Content) -> None:
        """Note that nothing of a content was there."""
        self.looked["none"] += 1
        if content.number in self._whole and not self.may_go(content):
            self.wrong.append(f"{self.name}: content {content.number} was there, and is gone")
        self._whole.discard(content.number)

    def part(self, content: Content, what: str) -> None:
        """Note that something else was there."""
        self.looked["part"] += 1
        self.wrong.append(f"{self.name}: part of content {content.number}: {what}")


class SqlReader(Reader):
    """Reads the table that the API reads, on the primary or on a standby."""

    def __init__(self, name: str, url: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__(name, choose, seed)
        self.url = url
        self._connection: psycopg2.extensions.connection | None = None

    def look(self, content: Content) -> None:
        """Ask once; what is away, restarting or cancelled by replay is counted and asked again later."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg2.connect(self.url, connect_timeout=3)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                found = seen(cursor, content)
                cursor.execute(DISAGREE_IN_MONTH, {"month": content.day.replace(day=1)})
                disagree = cursor.fetchall()
        except psycopg2.Error:
            self.looked["away"] += 1
            if self._connection is not None:
                self._connection.close()
            time.sleep(0.05)
            return
        self.looked["snapshots"] += 1
        self.wrong.extend(f"{self.name}: regions and ports disagree: {row}" for row in disagree[:3])
        self._note(content, found)

    def _note(self, content: Content, found: Sums) -> None:
        if not found:
            return self.none(content)
        for times in range(1, self.copies(content) + 1):
            if found == {lane: (times * count, times * total) for lane, (count, total) in content.port_sums.items()}:
                return self.whole(content)
        right = sum(found.get(lane) == sums for lane, sums in content.port_sums.items())
        return self.part(content, f"{right} of {len(content.port_sums)} lanes")
