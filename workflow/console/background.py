"""What takes longer than a page may: tasks that run on while the browser looks again."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEPT = 200


@dataclass
class Work:
    """One call under way or over: its result, or why there is none."""

    title: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    done: threading.Event = field(default_factory=threading.Event)
    status: str = "submitted"
    result: Any = None
    error: str | None = None


class Background:
    """The works of this process, the oldest of which are forgotten."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}

    def begin(self, title: str, call: Callable[[Callable[[str], None]], Any]) -> Work:
        """Begin a call, which is given a function to tell its status to, and return its work."""
        work = Work(title)
        self._works[work.id] = work
        for old in list(self._works)[:-KEPT]:
            del self._works[old]

        def tell(status: str) -> None:
            work.status = status.lower()

        def run() -> None:
            try:
                work.result = call(tell)
            except Exception as error:  # noqa: BLE001 whatever it was, the page says it
                work.error = str(error) or type(error).__name__
            finally:
                work.done.set()

        threading.Thread(target=run, daemon=True).start()
        return work

    def find(self, work_id: str) -> Work | None:
        """Return a work by its id."""
        return self._works.get(work_id)
