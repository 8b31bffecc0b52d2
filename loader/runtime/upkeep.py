"""Upkeep in small pieces: each has its own transaction and its own retries, and none can stop the others."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psycopg2

from ratesflow.database.sqlstates import Kind, kind_of
from ratesflow.loader.runtime.connection import explained
from ratesflow.loader.runtime.errors import TaskError, TransientError
from ratesflow.loader.runtime.log import log

# A piece that meets a lock or a deadlock is tried so often in a run, with so many seconds in between.
TRIES, PAUSE_SECONDS = 3, 0.5

Piece = tuple[str, Callable[[], object]]
"""What it is, for the log, and what does it."""


@dataclass
class Upkeep:
    """One run: how many pieces were done, and what became of those that were not."""

    done: int = 0
    left: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def work_off(self, pieces: Iterable[Piece]) -> int:
        """Do each piece; return how many were done. Raises psycopg2.Error when the connection is lost."""
        before = self.done
        for name, do in pieces:
            self._try(name, do)
        return self.done - before

    @property
    def backlog(self) -> int:
        """The number of pieces that were not done."""
        return len(self.left) + len(self.defects)

    def finish(self) -> str:
        """Return a message about the pieces left for the next run, if any.

        Raises TaskError for a piece that no retry can do.
        """
        if self.defects:
            raise TaskError(f"{len(self.defects)} pieces of upkeep failed; the first: {self.defects[0]}")
        return f"; {len(self.left)} pieces left for the next run, the first: {self.left[0]}" if self.left else ""

    def _try(self, name: str, do: Callable[[], object]) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                do()
            except psycopg2.Error as error:
                if kind_of(error) is Kind.RECONNECT:
                    raise  # nothing else can be done on this connection, either
                failure: TaskError = explained(error)
            except TaskError as error:  # it has waited by itself
                failure = error
                break
            else:
                self.done += 1
                return
            if not isinstance(failure, TransientError) or attempt == TRIES:
                break
            time.sleep(PAUSE_SECONDS)
        log.error(f"{name}: {failure}")
        (self.left if isinstance(failure, TransientError) else self.defects).append(f"{name}: {failure}")
