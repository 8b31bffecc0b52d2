"""The figures of the newest runs: one JSON file, into which every run merges what it measured and nothing else.

`latest.json` maps the name of a measure to its `value`, with the lowest and highest of its rounds, and the
machine, versions and day of the run that measured it.
"""

import fcntl
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"


@dataclass(frozen=True)
class Measure:
    """A figure and how far its rounds lie apart; `rounds` is how many there were."""

    value: float
    low: float
    high: float
    rounds: int = 1


Figures = Mapping[str, "Measure | float"]


def median(samples: Sequence[float]) -> Measure:
    """Return the median of some rounds."""
    return Measure(statistics.median(samples), min(samples), max(samples), len(samples))


def ratio(samples: Sequence[float], against: Sequence[float]) -> Measure:
    """Return how many times the median of `samples` is that of `against`; the range is that of pairs of rounds."""
    value = statistics.median(samples) / statistics.median(against)
    pairs = [one / other for one, other in zip(samples, against, strict=False)]
    return Measure(value, min(*pairs, value), max(*pairs, value), len(samples))


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the samples lie, such as 0.99. Raises ValueError when there is none."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def record(measures: Figures, machine: str, versions: Mapping[str, str], path: Path = LATEST) -> dict[str, Any]:
    """Merge what was measured into `path` by name, and return all that it now holds.

    Runs at the same time wait for one another; a reader sees the old file or the new one.
    """
    today = datetime.now(UTC).date().isoformat()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        known = read(path)
        for name, measured in measures.items():
            measure = measured if isinstance(measured, Measure) else Measure(measured, measured, measured)
            figures = {key: _short(value) for key, value in asdict(measure).items()}
            known[name] = {**figures, "machine": machine, "versions": dict(versions), "day": today}
        known = dict(sorted(known.items()))
        replace(path, json.dumps(known, ensure_ascii=False, indent=1) + "\n")
    return known


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path = LATEST) -> dict[str, Any]:
    """Return what is known; nothing when there was no run yet."""
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return known


def replace(path: Path, text: str) -> None:
    """Write a file all at once."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def _short(value: float) -> float:
    """Four digits are more than any of these measurements is good for."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
