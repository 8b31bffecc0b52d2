"""Runs the built images as on AWS: as their own user, with a read-only root and no capabilities.

Only the image's volumes are writable: podman's default of a writable /tmp in read-only containers, which ECS does not
have, is switched off.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TOOL = os.environ.get("RATESFLOW_CONTAINERS", "podman")
READ_ONLY = ("--read-only", "--read-only-tmpfs=false") if "podman" in TOOL else ("--read-only",)
HARDENED = (*READ_ONLY, "--cap-drop", "all", "--security-opt", "no-new-privileges")


def inspect(image: str) -> dict[str, Any]:
    """Return the tool's description of an image."""
    found: list[dict[str, Any]] = json.loads(_tool("image", "inspect", image).stdout)
    return found[0]


def run(image: str, *command: str, environ: dict[str, str], code: int | None = 0, entrypoint: str = "") -> str:
    """Run a command to its end and return its output. With `code` None any exit code is accepted."""
    done = _tool("run", "--rm", *_options(environ, entrypoint), image, *command, check=False)
    assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def started(image: str, *command: str, environ: dict[str, str]) -> Iterator[str]:
    """Start a container and yield its id; it is removed at the end in any case."""
    container = _tool("run", "--detach", *_options(environ), image, *command).stdout.strip()
    try:
        yield container
    finally:
        _tool("rm", "--force", "--volumes", container, check=False)


def logs(container: str) -> str:
    """Return the logs of a container."""
    done = _tool("logs", container)
    return done.stdout + done.stderr


def terminate(container: str) -> tuple[int, float]:
    """Send SIGTERM to process 1; return the exit code and the seconds until the exit."""
    began = time.monotonic()
    _tool("kill", "--signal", "TERM", container)
    code = int(_tool("wait", container).stdout)
    return code, time.monotonic() - began


def _options(environ: dict[str, str], entrypoint: str = "") -> list[str]:
    given = [part for name, value in environ.items() for part in ("--env", f"{name}={value}")]
    return ["--network", "host", *HARDENED, *given, *(["--entrypoint", entrypoint] if entrypoint else [])]


def _tool(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, f"{TOOL} {arguments[0]}: {done.returncode}\n{done.stderr}"
    return done
