"""Detects workarounds for Granian that are no longer needed: a test fails once Granian behaves differently."""

import inspect

from granian.server import common
from granian.server.mp import MPServer


def test_granian_workers_still_have_their_own_queues() -> None:
    """On Linux each worker of Granian has its own queue of connections, which is lost with the worker."""
    source = inspect.getsource(MPServer._init_shared_socket) + inspect.getsource(MPServer._spawn_worker)
    assert "_ssp" in source, "Granian shares its listening socket differently: see api/server/granian_workers.py"


def test_granian_still_replaces_workers_after_a_fixed_time() -> None:
    """Granian starts a new worker, sleeps, and stops the old one, whether or not the new one listens."""
    source = inspect.getsource(MPServer._respawn_workers)
    assert "sleep(delay)" in source, "Granian replaces workers differently: see api/server/granian_workers.py"


def test_granian_still_renames_processes() -> None:
    """Granian sets the title of its processes if setproctitle is installed, unless the name is None in its module."""
    source = inspect.getsource(common)
    assert "if setproctitle is not None" in source, (
        "Granian names processes differently: see api/server/granian_workers.py"
    )
