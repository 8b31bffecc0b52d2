"""Which shortcomings of Granian our server works around: each test fails once Granian no longer has its one."""

import inspect

from granian.server.mp import MPServer


def test_workers_still_listen_by_themselves() -> None:
    """On Linux each worker of Granian has a queue of its own, which is lost with it."""
    source = inspect.getsource(MPServer._init_shared_socket) + inspect.getsource(MPServer._spawn_worker)
    assert "_ssp" in source, "Granian shares its listening socket differently: see api/server/granian_workers.py"


def test_a_replaced_worker_still_ends_after_a_fixed_time() -> None:
    """Granian starts a successor, sleeps, and ends the old worker, whether or not the successor listens."""
    source = inspect.getsource(MPServer._respawn_workers)
    assert "sleep(delay)" in source, "Granian replaces workers differently: see api/server/granian_workers.py"
