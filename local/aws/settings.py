"""Settings of the embedded AWS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


def default_slots() -> int:
    """Return how many jobs run at a time: one per core, and at least two so that one job cannot block all others."""
    return max(2, os.cpu_count() or 2)


@dataclass(frozen=True)
class Settings:
    """The port, the data directory, and how jobs run.

    `poll_seconds` is the interval at which a `.sync` task polls its job; `kill_grace_seconds` is the time between
    SIGTERM and SIGKILL (30 s on AWS, which is too long for a laptop).
    """

    port: int
    data_dir: Path
    job_environment: Mapping[str, str] = field(default_factory=dict)
    poll_seconds: float = 0.1
    slots: int = field(default_factory=default_slots)
    kill_grace_seconds: float = 5.0

    @property
    def endpoint(self) -> str:
        """The endpoint URL of clients and jobs."""
        return f"http://{HOST}:{self.port}"
