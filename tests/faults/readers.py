"""Readers that look all the time, and keep what no reader may ever see: part of a batch, or one that went back."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import psycopg2

from tests.faults.contents import Content, Sums

# One statement, so one snapshot: every lane of the content's day.
SEEN = """
SELECT orig_code, dest_code, sum(counts[%(nth)s])::bigint, sum(sums[%(nth)s])::bigint
FROM rates JOIN unnest(%(origs)s::text[], %(dests)s::text[]) AS lane (orig, dest)
  ON orig_code = orig COLLATE "C" AND dest_code = dest COLLATE "C"
WHERE month = %(month)s AND batch_no IN (SELECT batch_no FROM open_batches)
GROUP BY orig_code, dest_code HAVING sum(counts[%(nth)s]) <> 0
"""
PAUSE_SECONDS = 0.03


def seen(cursor: "psycopg2.extensions.cursor", content: Content) -> Sums:
    """Return count and sum of a content on each of its lanes, as a reader sees them now."""
    origs, dests = zip(*content.sums, strict=True)
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
                with suppress(Exception):
                    self.look(content)

    def look(self, content: Content) -> None:
        """Look at one content."""
        raise NotImplementedError

    def note(self, content: Content, found: Sums) -> None:
        """Compare what was seen with what the file holds."""
        if found == content.sums:
            self.looked["whole"] += 1
            self._whole.add(content.number)
        elif not found:
            self.looked["none"] += 1
            if content.number in self._whole and not self.may_go(content):
                self.wrong.append(f"{self.name}: content {content.number} was there, and is gone")
            self._whole.discard(content.number)
        else:
            self.looked["part"] += 1
            lanes = sum(found.get(lane) == sums for lane, sums in content.sums.items())
            self.wrong.append(f"{self.name}: part of content {content.number}: {lanes} of {len(content.sums)} lanes")


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
        except psycopg2.Error:
            self.looked["away"] += 1
            if self._connection is not None:
                self._connection.close()
            time.sleep(0.05)
            return
        self.note(content, found)


class ApiReader(Reader):
    """Asks the API for the day of a content on one lane, over one connection for as long as it lasts."""

    def __init__(self, url: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__("API", choose, seed)
        self._address = urlsplit(url).netloc
        self._connection: http.client.HTTPConnection | None = None
        self.seconds: list[float] = []

    def look(self, content: Content) -> None:
        """Ask once, and once more over a new connection when the old one was ended by the server."""
        lane = self._random.choice(sorted(content.sums))
        path = f"/rates?date_from={content.day}&date_to={content.day}&orig_code={lane[0]}&dest_code={lane[1]}"
        began = time.monotonic()
        for fresh in (False, True):
            try:
                answer = self._answer(path, fresh)
                break
            except (OSError, http.client.HTTPException):
                continue
        else:
            self.looked["refused"] += 1
            time.sleep(0.05)
            return
        self.seconds.append(time.monotonic() - began)
        status, body = answer
        if status != 200:
            self.looked[str(status)] += 1
            if status != 503:
                self.wrong.append(f"API: {status} {body[:200]!r}")
            return
        (rate,) = json.loads(body)["rates"]
        count, total = content.sums[lane]
        price = total / count if count >= 3 else None
        if rate["count"] is None:
            self.note(content, {})
        elif (rate["count"], rate["price"]) == (count, price):
            self.note(content, content.sums)
        else:
            self.note(content, {lane: (rate["count"], 0)})

    def _answer(self, path: str, fresh: bool) -> tuple[int, bytes]:
        if fresh and self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=10)
        self._connection.request("GET", path)
        found = self._connection.getresponse()
        return found.status, found.read()
