"""The results as a chart in plain SVG: seconds to load a million rows by method, and of the commit by size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.results import FOLDER, replace

PICTURE = FOLDER / "loading.svg"
WIDTH, LEFT, BAR, GAP = 760, 250, 22, 8
# All colours.
OURS, OTHERS, INK = "#0b7285", "#adb5bd", "#343a40"

LOADING = (
    ("bare_copy", "\\copy, bare and unlogged"),
    ("logged_copy", "\\copy, logged"),
    ("work", "ratesflow, warm process"),
    ("whole", "ratesflow, three new processes"),
    ("dlt", "dlt append, no checks"),
    ("indexed_copy", "\\copy, one index"),
    ("first_schema", "\\copy, first schema"),
)
COMMITS = (("10k", "10,000 rows"), ("100k", "100,000 rows"), ("1m", "1,000,000 rows"), ("10m", "10,000,000 rows"))


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its value, and whether it is ratesflow's."""

    label: str
    value: float
    ours: bool


def write(results: Mapping[str, Mapping[str, Any]], path: Path = PICTURE) -> None:
    """Draw the available results; write nothing if there are none."""
    loading = [
        Bar(label, results[name]["value"], method in ("work", "whole"))
        for method, label in LOADING
        if (name := f"load_1m_{method}_s") in results
    ]
    commits = [
        Bar(label, results[name]["value"], True) for size, label in COMMITS if (name := f"commit_ms_{size}") in results
    ]
    charts = [
        ("Loading 1,000,000 rows: seconds", loading),
        ("Commit: milliseconds by size of the batch", commits),
    ]
    if drawn := [(title, bars) for title, bars in charts if bars]:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, picture(drawn))


def picture(charts: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Return the charts, one below the other, as SVG."""
    parts: list[str] = []
    top = 12.0
    for title, bars in charts:
        parts.append(_text(12, top + 16, title, weight="600"))
        top += 30
        most = max(bar.value for bar in bars) or 1
        for bar in bars:
            parts += _bar(bar, top, most)
            top += BAR + GAP
        top += 18
    label = escape("; ".join(title for title, _ in charts))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" width="{WIDTH}" height="{top:.0f}"'
        f' role="img" aria-label="{label}" font-family="system-ui, sans-serif" font-size="13">'
    )
    background = f'<rect width="{WIDTH}" height="{top:.0f}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def _bar(bar: Bar, top: float, most: float) -> list[str]:
    width = max(2.0, (WIDTH - LEFT - 90) * bar.value / most)
    colour = OURS if bar.ours else OTHERS
    middle = top + BAR / 2 + 4.5
    return [
        _text(LEFT - 10, middle, bar.label, anchor="end", weight="600" if bar.ours else "400"),
        f'<rect x="{LEFT}" y="{top:.1f}" width="{width:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
        _text(LEFT + width + 8, middle, f"{bar.value:.3g}"),
    ]


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}">'
        f"{escape(text)}</text>"
    )
