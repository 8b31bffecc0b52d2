"""What the embedded AWS is told when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


def default_slots() -> int:
    """How many jobs run at once: one a core, but at least two: a job that waits must not block all others."""
    return max(2, os.cpu_count() or 2)


@dataclass(frozen=True)
class Settings:
    """Where to listen, where to keep things, and how jobs run.

    `poll_seconds` is how often a `.sync` task asks for its job; `kill_grace_seconds` the time between SIGTERM
    and SIGKILL (30 s on AWS, too long to wait for on a laptop).
    """

    port: int
    data_dir: Path
    job_environment: Mapping[str, str] = field(default_factory=dict)
    poll_seconds: float = 0.1
    slots: int = field(default_factory=default_slots)
    kill_grace_seconds: float = 5.0

    @property
    def endpoint(self) -> str:
        """The URL that clients and jobs are given."""
        return f"http://{HOST}:{self.port}"
