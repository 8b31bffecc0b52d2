"""Calls that take longer than a page may: they run in the background while the browser polls."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_WORKS = 200


@dataclass
class Work:
    """One call, running or done: its status, then its result or its error."""

    title: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    done: threading.Event = field(default_factory=threading.Event)
    status: str = "submitted"
    result: Any = None
    error: str | None = None


class Background:
    """The works of this process; the oldest are dropped."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}

    def start(self, title: str, call: Callable[[Callable[[str], None]], Any]) -> Work:
        """Start a call, which gets a function to report its status to, and return its work."""
        work = Work(title)
        self._works[work.id] = work
        for old in list(self._works)[:-MAX_WORKS]:
            del self._works[old]

        def report(status: str) -> None:
            work.status = status.lower()

        def run() -> None:
            try:
                work.result = call(report)
            except Exception as error:  # noqa: BLE001 the page shows it
                work.error = str(error) or type(error).__name__
            finally:
                work.done.set()

        threading.Thread(target=run, daemon=True).start()
        return work

    def find(self, work_id: str) -> Work | None:
        """Return a work by its id."""
        return self._works.get(work_id)
