"""A client that queries the API continuously, with the newest ETag that it has received, as a browser's cache does.

Each response must have a batch wholly or not at all, by one of the possible region trees, and must never be older than
an earlier response.
"""

import http.client
import json
import math
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ratesflow.database.reference import Reference, builtin
from tests.faults.campaign.contents import Content, Lane
from tests.faults.readers.readers import Reader

# The share of repeated requests, and of requests over a new connection, which may reach another worker.
REPEAT_SHARE, OTHER_WORKER_SHARE = 0.5, 0.3

Rate = tuple[int | None, float | None]
"""Count and average price of a day in a response."""


class ApiReader(Reader):
    """Queries the day of a content, between ports, regions or both, from changing workers."""

    def __init__(self, name: str, url: str, choose: Callable[[random.Random], Content | None], seed: int) -> None:
        super().__init__(name, choose, seed)
        self.trees: Callable[[], list[Reference]] = lambda: [builtin()]
        self.seconds: list[float] = []
        self._address = urlsplit(url).netloc
        self._connection: http.client.HTTPConnection | None = None
        self._newest = ("", 0, "")  # epoch and number of the newest version, and the its ETag
        self._last: tuple[Content, Lane] | None = None
        self._of_path: dict[str, tuple[str, int]] = {}

    def read(self, content: Content) -> None:
        """Query once; repeat over a new connection if the server has closed the old one."""
        if self._random.random() < REPEAT_SHARE and self._last:
            content, lane = self._last
        else:
            lane = self._lane(content)
        self._last = content, lane
        path = f"/rates?date_from={content.day}&date_to={content.day}&orig_code={lane[0]}&dest_code={lane[1]}"
        trees = self.trees()
        began = time.monotonic()
        for fresh in (self._random.random() < OTHER_WORKER_SHARE, True):
            try:
                status, etag, body = self._request(path, fresh)
                break
            except (OSError, http.client.HTTPException):
                continue
        else:
            self.reads["failed"] += 1
            time.sleep(0.05)
            return
        self.seconds.append(time.monotonic() - began)
        if status in (200, 304):
            self._compare(path, etag)
        if status != 200:
            self.reads[str(status)] += 1
            if status not in (304, 503):
                self.violations.append(f"{self.name}: {status} {body[:200]!r}")
            return
        (rate,) = json.loads(body)["rates"]
        trees = [*trees, *self.trees()]  # the response may be from before or after a change
        self.check(content, lane, (rate["count"], rate["price"]), trees, self.copies(content))

    def check(self, content: Content, lane: Lane, rate: Rate, trees: list[Reference], copies: int) -> None:
        """Compare a response with the file: all or nothing of it between ports, or its sums by one of the trees."""
        between_ports = lane in content.port_sums
        possible = {content.port_sums[lane]} if between_ports else {_sums(content, lane, tree) for tree in trees}
        if not any(_equals(rate, sums, times) for sums in possible for times in range(copies + 1)):
            self.part(content, f"{rate} on {lane}, of {sorted(possible)}")
        elif not between_ports:
            self.reads["regions"] += 1
        elif rate[0]:
            self.whole(content)
        else:
            self.none(content)

    def _lane(self, content: Content) -> Lane:
        """Choose a lane between ports, or from or to a region of the built-in tree."""
        orig, dest = self._random.choice(sorted(content.port_sums))
        above = builtin().regions_of
        if self._random.random() < 0.5:
            return orig, dest
        origs, dests = ([port, *above[port]] for port in (orig, dest))
        return self._random.choice(origs), self._random.choice(dests)

    def _compare(self, path: str, etag: str) -> None:
        """Record the version of an ETag; for one path it must never decrease."""
        epoch, _, number = etag.strip('"').rpartition("-")[0].rpartition("-")
        version, before = (epoch, int(number)), self._of_path.get(path)
        if before and before[0] == epoch and version < before:
            self.violations.append(f"{self.name}: {path} went back from version {before[1]} to {version[1]}")
        self._of_path[path] = version
        if epoch != self._newest[0] or version[1] > self._newest[1]:
            self._newest = (*version, etag)

    def _request(self, path: str, fresh: bool) -> tuple[int, str, bytes]:
        if fresh and self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=10)
        headers = {"If-None-Match": self._newest[2]} if self._newest[2] else {}
        self._connection.request("GET", path, headers=headers)
        found = self._connection.getresponse()
        return found.status, found.getheader("ETag", ""), found.read()


def _sums(content: Content, lane: Lane, tree: Reference) -> tuple[int, int]:
    """Return count and sum of a content on a lane by a tree; a region includes all of its ports."""
    origs, dests = (tree.members.get(end, frozenset({end})) for end in lane)
    found = [sums for (orig, dest), sums in content.port_sums.items() if orig in origs and dest in dests]
    return sum(count for count, _ in found), sum(total for _, total in found)


def _equals(rate: Rate, sums: tuple[int, int], times: int) -> bool:
    """Return whether a rate is that of a number of copies; fewer than three prices have no average."""
    count, total = sums[0] * times, sums[1] * times
    if not count:
        return rate[0] is None
    average = total / count if count >= 3 else None
    return rate[0] == count and (rate[1] == average or math.isclose(rate[1] or 0, average or 0))
