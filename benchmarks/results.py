"""The newest results, in one JSON file: every run replaces the measures that it took, and no others.

`latest.json` maps the name of each measure to its `value`, its lowest and highest round, and the machine, versions
and day of its run.
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
    """A value, and its lowest and highest of `rounds` rounds."""

    value: float
    low: float
    high: float
    rounds: int = 1


Figures = Mapping[str, "Measure | float"]


def median(samples: Sequence[float]) -> Measure:
    """Return the median of some rounds."""
    return Measure(statistics.median(samples), min(samples), max(samples), len(samples))


def ratio(samples: Sequence[float], against: Sequence[float]) -> Measure:
    """Return the median of `samples` over that of `against`; the range is of the ratios round by round."""
    value = statistics.median(samples) / statistics.median(against)
    pairs = [one / other for one, other in zip(samples, against, strict=False)]
    return Measure(value, min(*pairs, value), max(*pairs, value), len(samples))


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the samples lie, such as 0.99. Raises ValueError if there are none."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def record(measures: Figures, machine: str, versions: Mapping[str, str], path: Path = LATEST) -> dict[str, Any]:
    """Merge measures into `path` by name, and return all its results.

    Concurrent runs wait for one another; a reader sees the old file or the new one.
    """
    today = datetime.now(UTC).date().isoformat()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        stored = read(path)
        for name, measured in measures.items():
            measure = measured if isinstance(measured, Measure) else Measure(measured, measured, measured)
            figures = {key: _short(value) for key, value in asdict(measure).items()}
            stored[name] = {**figures, "machine": machine, "versions": dict(versions), "day": today}
        stored = dict(sorted(stored.items()))
        replace(path, json.dumps(stored, ensure_ascii=False, indent=1) + "\n")
    return stored


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path = LATEST) -> dict[str, Any]:
    """Return the stored results; an empty dictionary if there are none."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return stored


def replace(path: Path, text: str) -> None:
    """Replace a file atomically."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def _short(value: float) -> float:
    """Round to four significant digits: none of these measurements is more precise."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
