"""What a validation report says beside its first errors, in words, for the command line and the console."""

from collections.abc import Mapping
from typing import Any

PORTS_SHOWN = 20


def extent_of_list(report: Mapping[str, Any]) -> str:
    """Return how much of what is wrong the full report lists: `all errors`, or so many of how many."""
    listed, found = report["listed_errors"], sum(report["reasons"].values())
    return "all errors" if listed >= found else f"the first {listed:,} of {found:,} errors"


def unknown_ports(report: Mapping[str, Any]) -> str:
    """Return the unknown ports of a batch, each with how often it stands there, the most frequent first."""
    ports = report.get("unknown_ports", {})  # reports of an earlier version have none
    shown = list(ports.items())[:PORTS_SHOWN]
    words = ", ".join(f"{port} ({count:,})" for port, count in shown)
    more = len(ports) - len(shown) + report.get("more_unknown_ports", 0)
    return f"{words} and {more:,} more" if more else words
