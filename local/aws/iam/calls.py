"""What was asked of the policies since the stack began: the figure of least privilege comes from here."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ratesflow.local.aws.iam.policy import Ask, Decision


@dataclass(frozen=True)
class Call:
    """Calls of one role that the same statements decided, and the first of them as an example."""

    role: str
    action: str
    allowed: bool
    sids: tuple[str, ...]
    count: int
    resource: str
    context: Mapping[str, str]


class Calls:
    """Counts calls; how many there are is bounded by what policies say, not by how long the stack runs.

    What is new is written to a file at once, the counts at the end, so that they outlive a stack.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._calls: dict[tuple[str, str, bool, tuple[str, ...]], Call] = {}
        with suppress(OSError, ValueError, TypeError, KeyError):  # none yet, or one of another version
            for written in json.loads(file.read_text()):
                call = Call(**{**written, "sids": tuple(written["sids"])})
                self._calls[call.role, call.action, call.allowed, call.sids] = call

    def add(self, role: str, ask: Ask, decision: Decision) -> None:
        """Count a call."""
        key = (role, ask.action, decision.allowed, decision.sids)
        with self._guard:
            if known := self._calls.get(key):
                self._calls[key] = replace(known, count=known.count + 1)
                return
            self._calls[key] = Call(*key, 1, ask.resource, dict(ask.context))
            self._write()

    def text(self) -> str:
        """Return all of them as JSON."""
        with self._guard:
            return self._text()

    def close(self) -> None:
        """Write the counts."""
        with self._guard:
            if self._calls:
                self._write()

    def _text(self) -> str:
        return json.dumps([asdict(call) for call in self._calls.values()], indent=1)

    def _write(self) -> None:
        with suppress(OSError):  # a full disk fails no request for its own sake
            new = self._file.with_suffix(".new")
            new.write_text(self._text())
            new.replace(self._file)
