"""Serves the embedded AWS: moto's server with all patches, in this process, on the loopback interface only."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import socket
import tempfile
import threading
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.util import get_temp_dir
from typing import IO, Any

from ratesflow.local.aws.settings import HOST, Settings

MOTO_VERSION = "5.2.5"
EX_UNAVAILABLE = 69
_STOP_POLL_SECONDS = 0.1
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BYTES = 1024 * 1024
_LONGEST_SOCKET_BYTES = 103  # of the path of a Unix socket: 107 on Linux, 103 on macOS
_FORK_SERVER_BYTES = len("/pymp-12345678/listener-12345678")


class StartError(RuntimeError):
    """The embedded AWS cannot start; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    settings: Settings
    _listener: Any
    _slots: Any
    _gate: Any
    _lock: IO[str]

    def close(self) -> None:
        """Terminate the running jobs with their children, then stop listening."""
        self._slots.close()
        self._listener.shutdown()
        self._gate.calls.close()
        self._lock.close()


def serve(settings: Settings) -> Server:
    """Start the server and return it. Raises StartError.

    This patches moto permanently in the whole process: run it in a separate process.
    """
    _require_moto()
    bound = _bind(settings.port)
    lock = _lock_directory(settings)
    _keep_temporary_files_in(settings)
    _return_freed_memory()
    os.environ["MOTO_PORT"] = str(settings.port)
    # The user's profile is for real AWS.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    from ratesflow.local.aws.lean_import import import_moto

    import_moto()  # before everything else of moto
    from ratesflow.local.aws import caching, request_ids
    from ratesflow.local.aws.batch import patch as batch
    from ratesflow.local.aws.s3 import patch as s3
    from ratesflow.local.aws.stepfunctions import executions, interpreter, versions

    batch.reap_orphans(settings.data_dir)
    request_ids.install()
    interpreter.install(settings)
    executions.install(settings)
    versions.install()
    s3.install(settings)
    slots = batch.install(settings)
    caching.install()
    gate = _gate(settings)
    return Server(settings, _listen(settings, bound, gate), slots, gate, lock)


def _require_moto() -> None:
    found = version("moto")
    if found != MOTO_VERSION:
        raise StartError(
            f"The embedded AWS needs moto {MOTO_VERSION}, not {found}: its patches are for that version. "
            f"Install it with: pip install moto=={MOTO_VERSION}"
        )


def _lock_directory(settings: Settings) -> IO[str]:
    """Lock the directory: two servers on one directory would treat each other's jobs as orphans."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = (settings.data_dir / "aws.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartError(
            f"Another embedded AWS uses {settings.data_dir}: stop it, or name another directory with --data"
        ) from error
    return file


def _keep_temporary_files_in(settings: Settings) -> None:
    """Keep temporary files, such as parts of uploads, beside the objects, since /tmp is often in memory."""
    directory = settings.data_dir / "tmp"
    directory.mkdir(exist_ok=True)
    if len(os.fsencode(directory)) > _LONGEST_SOCKET_BYTES - _FORK_SERVER_BYTES:
        get_temp_dir()  # of multiprocessing, for the socket of its fork server: it remembers the system's folder
    tempfile.tempdir = str(directory)


def _return_freed_memory() -> None:
    """Make glibc return large freed blocks to the system; it would keep those of past requests."""
    allocate = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocate is not None:
        allocate(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def _bind(port: int) -> socket.socket:
    """Bind the port first, so that a port in use is reported at once."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(128)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StartError(f"Port {port} is in use: stop what listens there, or name another port with --port") from error
    return bound


def _gate(settings: Settings) -> Any:
    """Return moto's application behind the check of role policies."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    from ratesflow.local.aws.iam import Gate

    return Gate(
        DomainDispatcherApplication(create_backend_app), DEFAULT_ACCOUNT_ID, settings.data_dir / "iam-calls.json"
    )


def _listen(settings: Settings, bound: socket.socket, application: Any) -> Any:
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # It logs each failed task with its whole definition; the execution's history has the same information.
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)
    listener = make_server(
        HOST,
        settings.port,
        application,
        threaded=True,
        request_handler=MotoRequestHandler,
        fd=bound.fileno(),
    )
    bound.close()
    threading.Thread(target=listener.serve_forever, args=(_STOP_POLL_SECONDS,), name="aws", daemon=True).start()
    return listener
