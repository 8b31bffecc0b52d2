"""Upkeep in small pieces: each has its own transaction and retries, and a failure does not stop the others."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psycopg2

from ratesflow.database.sqlstates import Kind, kind_of
from ratesflow.loader.runtime.connection import task_error
from ratesflow.loader.runtime.errors import TaskError, TransientError
from ratesflow.loader.runtime.log import log

# Attempts of a piece in one run after a transient error, such as a lock timeout, and the pause between them.
ATTEMPTS, PAUSE_SECONDS = 3, 0.5

Piece = tuple[str, Callable[[], object]]
"""A name for the log, and the function that does the work."""


@dataclass
class Upkeep:
    """One run: the number of finished pieces, and the messages of those left for the next run and those that failed."""

    done: int = 0
    left: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def work_off(self, pieces: Iterable[Piece]) -> int:
        """Do each piece; return the number of finished pieces. Raises psycopg2.Error when the connection is lost."""
        before = self.done
        for name, do in pieces:
            self._try(name, do)
        return self.done - before

    @property
    def backlog(self) -> int:
        """The number of unfinished pieces."""
        return len(self.left) + len(self.defects)

    def finish(self) -> str:
        """Return a message about the pieces left for the next run, if any.

        Raises TaskError if a piece failed and a retry cannot help.
        """
        if self.defects:
            raise TaskError(f"{len(self.defects)} pieces of upkeep failed; the first: {self.defects[0]}")
        return f"; {len(self.left)} pieces left for the next run, the first: {self.left[0]}" if self.left else ""

    def _try(self, name: str, do: Callable[[], object]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                do()
            except psycopg2.Error as error:
                if kind_of(error) is Kind.RECONNECT:
                    raise  # the connection is lost for the other pieces as well
                failure: TaskError = task_error(error)
            except TaskError as error:  # has its own retries
                failure = error
                break
            else:
                self.done += 1
                return
            if not isinstance(failure, TransientError) or attempt == ATTEMPTS:
                break
            time.sleep(PAUSE_SECONDS)
        log.error(f"{name}: {failure}")
        (self.left if isinstance(failure, TransientError) else self.defects).append(f"{name}: {failure}")
