"""Child processes of the stack: each writes to its own log and ends with its parent."""

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ratesflow.local.parent_death_signal import die_with_parent
from ratesflow.workflow.client.errors import RatesflowError

FREE_PORTS = range(20_000, 32_000)
"""Below the ephemeral ports of Linux (32768 to 60999) and macOS."""


class StackError(RatesflowError):
    """The stack cannot start or stop; the message has the reason and the remedy."""


def start(
    command: list[str],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> "subprocess.Popen[bytes]":
    """Start a process whose output goes to `log` and which receives `death_signal` when this process ends.

    Call it from the main thread: the kernel watches the thread that starts a child, not its process.
    """
    parent = os.getpid()
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            **identity(user),
            preexec_fn=lambda: die_with_parent(death_signal, parent),
        )


def identity(user: str | None) -> dict[str, Any]:
    """Return the arguments with which `subprocess` runs a program as another user, without root's groups."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this Python, without the current directory in its path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals, grace_seconds: float) -> None:
    """Send a signal to a process, and kill it if it has not ended after the grace period."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """Return the end of a log, for a message."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def free_port(wanted: int = 0) -> int:
    """Return `wanted` if it is free, or another free port.

    FREE_PORTS has no ephemeral ports, so that no connection takes the port before the caller listens on it.
    """
    tried = [wanted] if wanted else []
    for port in (*tried, *random.SystemRandom().sample(FREE_PORTS, 100)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise StackError("no free port on 127.0.0.1")


def require_free_port(port: int, option: str) -> None:
    """Raise StackError, with the option that chooses another port, if the port is in use."""
    if port and free_port(port) != port:
        raise StackError(f"port {port} is in use: stop what listens there, or choose another with {option}")
