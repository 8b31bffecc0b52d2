"""Records of executions on disk, which survive a stack that is stopped or killed.

An execution has two files, named by its ARN's digest: its description (DescribeExecution) and, once it has ended, its
history. An execution without an end was running when the stack went down; `running` lists these, and
ratesflow.local.recover starts them again with the same name and input.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNNING = "RUNNING"
_DESCRIBED, _EVENTS = ".json", ".events"


@dataclass(frozen=True)
class Unfinished:
    """An execution without an end: its machine (without version and alias), its name, its input."""

    machine_arn: str
    name: str
    input: str


class ExecutionRecords:
    """The records in one directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = record_directory(data_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        described = [_read(path) for path in self._folder.glob(f"*{_DESCRIBED}")]
        self._ended = {found["executionArn"]: found for found in described if found["status"] != RUNNING}

    def write(self, description: dict[str, Any], machine: dict[str, Any], events: list[Any]) -> None:
        """Write the current state of an execution; once it has ended, also its history and its state machine."""
        path = self._path(description["executionArn"])
        if description["status"] != RUNNING:
            _replace(path.with_suffix(_EVENTS), {"machine": machine, "events": events})
        _replace(path.with_suffix(_DESCRIBED), description)

    def ended(self, arn: str) -> dict[str, Any] | None:
        """Return the description of an execution that ended before this process started."""
        return self._ended.get(arn)

    def ended_of(self, machine_arn: str) -> list[dict[str, Any]]:
        """Return the descriptions of a machine's executions that ended before this process started."""
        return [found for found in self._ended.values() if found["stateMachineArn"] == machine_arn]

    def events(self, arn: str) -> list[Any]:
        """Return the history of an ended execution."""
        events: list[Any] = _read(self._path(arn).with_suffix(_EVENTS))["events"]
        return events

    def machine(self, arn: str) -> dict[str, Any]:
        """Return the state machine of an ended execution, as it was at its start."""
        machine: dict[str, Any] = _read(self._path(arn).with_suffix(_EVENTS))["machine"]
        return machine

    def _path(self, arn: str) -> Path:
        return self._folder / hashlib.sha256(arn.encode()).hexdigest()[:32]


def record_directory(data_dir: Path) -> Path:
    """Return the directory of the records."""
    return data_dir / "executions"


def running(data_dir: Path) -> list[Unfinished]:
    """Return the executions that were running when the stack went down, oldest first."""
    described = [_read(path) for path in record_directory(data_dir).glob(f"*{_DESCRIBED}")]
    unfinished = [found for found in described if found["status"] == RUNNING]
    unfinished.sort(key=lambda found: found["startDate"])
    return [Unfinished(found["stateMachineArn"], found["name"], found["input"]) for found in unfinished]


def _replace(path: Path, value: Any) -> None:
    partial = path.with_suffix(f"{path.suffix}.part")
    partial.write_text(json.dumps(value, default=_plain), encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), object_hook=_restored)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return {"$time": value.timestamp()}
    return str(value)


def _restored(value: dict[str, Any]) -> Any:
    if set(value) == {"$time"}:
        return datetime.datetime.fromtimestamp(value["$time"], tz=datetime.UTC)
    return value
