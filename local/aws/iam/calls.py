"""Records the calls that the policies decided since the stack was created, from which least privilege is measured."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ratesflow.local.aws.iam.policy import Decision, Permission


@dataclass(frozen=True)
class Call:
    """Calls of one role that the same statements decided, with the resource of the first as an example."""

    role: str
    action: str
    allowed: bool
    sids: tuple[str, ...]
    count: int
    resource: str
    context: Mapping[str, str]


class Calls:
    """Counts calls. The number of entries is bounded by the policies, not by how long the stack runs.

    A new entry is written to a file at once, the counts at the end, so that they survive restarts.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._calls: dict[tuple[str, str, bool, tuple[str, ...]], Call] = {}
        with suppress(OSError, ValueError, TypeError, KeyError):  # no file yet, or one of another version
            for written in json.loads(file.read_text()):
                call = Call(**{**written, "sids": tuple(written["sids"])})
                self._calls[call.role, call.action, call.allowed, call.sids] = call

    def add(self, role: str, permission: Permission, decision: Decision) -> None:
        """Count a call."""
        key = (role, permission.action, decision.allowed, decision.sids)
        with self._guard:
            if call := self._calls.get(key):
                self._calls[key] = replace(call, count=call.count + 1)
                return
            self._calls[key] = Call(*key, 1, permission.resource, dict(permission.context))
            self._write()

    def text(self) -> str:
        """Return all calls as JSON."""
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
        with suppress(OSError):  # a full disk must not fail the request
            new = self._file.with_suffix(".new")
            new.write_text(self._text())
            new.replace(self._file)
