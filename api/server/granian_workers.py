"""Granian with workers that are replaced without a dropped connection.

What it buys: restarts and deployments without a failed request (`python -m benchmarks.api restarts`). To switch it
off, serve `granian.server.mp.MPServer` instead of RatesServer in ``ratesflow.api.__main__``.

In Granian each worker listens by itself (SO_REUSEPORT). When one ends, the kernel resets the connections in its queue
(https://github.com/emmett-framework/granian/issues/567). A replaced worker ends after a fixed interval, whether or
not its successor listens (https://github.com/emmett-framework/granian/issues/921). Here the main process creates the
listening sockets, one for each worker, and keeps them: a worker and its successor accept from the same queue, which
outlives both. Before a worker ends it drains: it accepts no more connections, and asks each client to reconnect. For
``DRAIN_SECONDS`` it closes nothing: a request may already be on its way over an idle connection, and the client would
see a reset.

This overrides private parts of Granian. ``tests/api/server/test_restarts.py`` fails when they change, and
``tests/api/server/test_granian.py`` fails when Granian no longer needs it.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.server import common
from granian.server.mp import MPServer

# Granian renames its processes where setproctitle happens to be installed. They keep their command everywhere instead.
common.setproctitle = None  # type: ignore[attr-defined, assignment]

DRAIN = signal.SIGUSR1
DRAIN_SECONDS = 2.0
BACKLOG = 2048
OPEN_FILES = Path("/dev/fd")  # of this process, on Linux and macOS


class RatesServer(MPServer):
    """Granian whose workers take over from one another; `sockets` are listening sockets, one for each worker."""

    def __init__(self, target: str, *, sockets: Sequence[socket.socket], **options: Any) -> None:
        self._sockets = list(sockets)
        super().__init__(target, **options, workers=len(self._sockets), backlog=BACKLOG)

    def _init_shared_socket(self) -> None:
        self._ssp = self._sso = None

    def _drop_shared_socket(self) -> None:
        for each in self._sockets:
            each.close()

    def _spawn_worker(  # type: ignore[override]
        self, idx: int, target: Any, callback_loader: Callable[[socket.socket], Any]
    ) -> Any:
        ours = self._sockets[idx]
        self._shd = SocketHolder(ours.fileno(), False, BACKLOG)  # type: ignore[call-arg, assignment]

        def load() -> Any:
            _let_threads_finish()
            for each in self._sockets:
                if each is not ours:
                    each.close()  # otherwise it would seem open when no worker listens on it any more
            return callback_loader(ours)

        return super()._spawn_worker(idx, target, load)

    def _respawn_workers(self, workers: Any, spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        """Replace workers one after the other; `delay` is the time in seconds for a new one to start."""
        for index in workers:
            old = self.wrks[index]
            # From here on the worker is expected to end; this must not be taken for a failure of its successor.
            old.interrupt_by_parent = True
            self.interrupt_children = [each for each in self.interrupt_children if each != index]
            self.respawned_wrks[index] = time.monotonic()
            new = self._spawn_worker(idx=index, target=spawn_target, callback_loader=target_loader)
            new.start()
            self.wrks[index] = new
            if old.is_alive():
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):  # killed meanwhile
                    os.kill(old._id(), DRAIN)
                time.sleep(DRAIN_SECONDS)
            old.terminate()
            old.join(self.workers_kill_timeout)
            if old.is_alive():
                old.kill()
                old.join()


def _let_threads_finish() -> None:
    """Let threads that wake up not interrupt the running one (sched(7), SCHED_BATCH).

    Only one thread runs Python at a time, so the interrupted one is usually the one that the other waits for.
    """
    if hasattr(os, "sched_setscheduler"):  # Linux has it
        with contextlib.suppress(OSError):  # not permitted: it only runs slower
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on the same address; the kernel distributes connections among them.

    Raises OSError with a message on what to do.
    """
    if not 0 < port < 65_536:
        raise OSError(f"{port} is not a port: ports are 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:  # fails if another process listens there
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        sockets = []
        for _ in range(count):
            each = socket.socket(family, kind, protocol)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(address)
            each.listen(BACKLOG)
            each.setblocking(False)
            sockets.append(each)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port or PORT"
        ) from None
    return sockets


def stop_accepting(listener: socket.socket) -> None:
    """Stop accepting from `listener` in this process; it keeps listening for others.

    Each of its descriptors in this process, including Granian's copies, is replaced by one of an unused socket.
    """
    identity = os.fstat(listener.fileno()).st_ino
    unused = socket.socket(listener.family)
    unused.bind(("::1" if listener.family == socket.AF_INET6 else "127.0.0.1", 0))
    unused.listen(1)
    unused.setblocking(False)
    for name in os.listdir(OPEN_FILES):  # noqa: PTH208, these are numbers
        try:
            if os.fstat(int(name)).st_ino == identity:
                os.dup2(unused.fileno(), int(name), inheritable=False)
        except OSError:
            continue  # closed meanwhile
