"""Writes the progress of a shard to its log."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ratesflow.loader.batches.byte_ranges import ByteRange, Fetch
from ratesflow.loader.files.report import ReportWriter
from ratesflow.loader.runtime.log import log

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 5.0
ELAPSED_PER_PAUSE = 20


@dataclass
class Progress:
    """Writes `progress` lines: the rows so far, and their share of the whole, from 0 to 1.

    Lines are frequent at first and less frequent later: a task of one hour writes about 800.
    """

    began: float = field(default_factory=time.monotonic)
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = self.began + FIRST_SECONDS

    def update(self, rows: int, share: float) -> None:
        """Write a line if one is due."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + max(FIRST_SECONDS, min((now - self.began) / ELAPSED_PER_PAUSE, LONGEST_SECONDS))
            _write(rows, share)

    def finish(self, rows: int) -> None:
        """Write the last line."""
        _write(rows, 1.0)


def watched(fetch: Fetch, span: ByteRange, report: ReportWriter, progress: Progress) -> Fetch:
    """Return a fetch that reports progress through a span with every block that is read."""

    def fetch_and_report(start: int, stop: int) -> Iterator[bytes]:
        at = start
        for block in fetch(start, stop):
            yield block
            at += len(block)
            progress.update(report.rows, _share(at, span, report))

    return fetch_and_report


def _share(at: int, span: ByteRange, report: ReportWriter) -> float:
    if report.expected_rows:
        return report.rows / report.expected_rows
    return min(max(at - span.start, 0) / max(span.stop - span.start, 1), 1.0)


def _write(rows: int, share: float) -> None:
    log.info("progress", rows=rows, share=round(share, 4))
