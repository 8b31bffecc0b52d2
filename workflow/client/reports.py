"""Reads validation reports and summarizes them, for the command line and the console."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ratesflow.workflow.client.environment import Environment

PORTS_SHOWN = 20


def read_report(environment: Environment, address: str) -> dict[str, Any]:
    """Return the report at an `s3://` address."""
    bucket, key = split_address(address)
    body = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    report: dict[str, Any] = json.loads(body)
    return report


def split_address(address: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://` address."""
    parts = urlsplit(address)
    return parts.netloc, parts.path.lstrip("/")


def extent_of_list(report: Mapping[str, Any]) -> str:
    """Return how much the full report lists: `all errors`, or `the first N of M errors`."""
    listed, found = report["listed_errors"], sum(report["reasons"].values())
    return "all errors" if listed >= found else f"the first {listed:,} of {found:,} errors"


def unknown_ports(report: Mapping[str, Any]) -> str:
    """Return the unknown ports of a batch with their counts, the most frequent first."""
    ports = report.get("unknown_ports", {})  # reports of an earlier version have none
    shown = list(ports.items())[:PORTS_SHOWN]
    text = ", ".join(f"{port} ({count:,})" for port, count in shown)
    more = len(ports) - len(shown) + report.get("more_unknown_ports", 0)
    return f"{text} and {more:,} more" if more else text
