"""Logs as lines of JSON on standard output, which CloudWatch reads as fields."""

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import Any


class _Log:
    def __init__(self) -> None:
        self._bound: dict[str, Any] = {}

    def bind(self, **fields: Any) -> None:
        """Add these fields to every line from now on."""
        self._bound.update(fields)

    def info(self, message: str, **fields: Any) -> None:
        """Write a line of level info."""
        self._write("info", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Write a line of level error."""
        self._write("error", message, fields)

    def exception(self, message: str) -> None:
        """Write a line of level error with the traceback of the current exception."""
        self._write("error", message, {"traceback": traceback.format_exc()})

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "message": message, **self._bound, **fields}
        sys.stdout.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


log = _Log()
