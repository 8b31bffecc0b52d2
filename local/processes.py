"""Child processes of the stack: they write to a log of their own, and die with the process that started them."""

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
"""Below those that Linux (32768 to 60999) and macOS give to connections and to whoever asks for port 0."""


class StackError(RatesflowError):
    """The stack cannot start or went down; the message says why, and what to do."""


def start(
    command: list[str],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> "subprocess.Popen[bytes]":
    """Start a process whose output goes to `log`, and which gets `death_signal` when this one vanishes.

    Call it from the main thread: the kernel watches the thread that started a child, not its process.
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
    """Return what makes `subprocess` run a program as another user, in none of root's groups."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this Python, whatever lies in the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def stop(process: "subprocess.Popen[bytes]", number: signal.Signals, grace_seconds: float) -> None:
    """Ask a process to end, and kill it when it has not ended within the time."""
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
    """Return `wanted` if nothing listens there, or a free port.

    The system takes none of FREE_PORTS for connections, so that nothing else gets it before somebody listens there.
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
    """Raise StackError, naming the option that chooses another, when something listens on a port."""
    if port and free_port(port) != port:
        raise StackError(f"port {port} is in use: stop what listens there, or choose another with {option}")
