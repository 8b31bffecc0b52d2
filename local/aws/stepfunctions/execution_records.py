"""What is kept on disk of each execution: a stack that was stopped or killed still knows them when it is up again.

An execution is two files in a folder, named by its ARN's digest: what DescribeExecution says, and, once it has
ended, its history. One without an end was under way when the stack went down; `running` lists them, and whoever
deploys starts them again, under the same name and with the same input.
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
    """An execution without an end: its machine (no version, no alias), its name, its input."""

    machine_arn: str
    name: str
    input: str


class ExecutionRecords:
    """The records in one folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = record_directory(data_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        described = [_read(path) for path in self._folder.glob(f"*{_DESCRIBED}")]
        self._ended = {found["executionArn"]: found for found in described if found["status"] != RUNNING}

    def write(self, description: dict[str, Any], machine: dict[str, Any], events: list[Any]) -> None:
        """Keep an execution as it is now; its history, and the machine that it ran, are kept with its end."""
        path = self._path(description["executionArn"])
        if description["status"] != RUNNING:
            _replace(path.with_suffix(_EVENTS), {"machine": machine, "events": events})
        _replace(path.with_suffix(_DESCRIBED), description)

    def ended(self, arn: str) -> dict[str, Any] | None:
        """The description of an execution that ended before this process began."""
        return self._ended.get(arn)

    def ended_of(self, machine_arn: str) -> list[dict[str, Any]]:
        """The descriptions of a machine's executions that ended before this process began."""
        return [found for found in self._ended.values() if found["stateMachineArn"] == machine_arn]

    def events(self, arn: str) -> list[Any]:
        """The history of an execution that has ended."""
        events: list[Any] = _read(self._path(arn).with_suffix(_EVENTS))["events"]
        return events

    def machine(self, arn: str) -> dict[str, Any]:
        """The machine as it was when an execution that has ended began."""
        machine: dict[str, Any] = _read(self._path(arn).with_suffix(_EVENTS))["machine"]
        return machine

    def _path(self, arn: str) -> Path:
        return self._folder / hashlib.sha256(arn.encode()).hexdigest()[:32]


def record_directory(data_dir: Path) -> Path:
    """Where the records lie."""
    return data_dir / "executions"


def running(data_dir: Path) -> list[Unfinished]:
    """The executions that were under way when the stack went down, oldest first."""
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
