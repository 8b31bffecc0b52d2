"""Faults of the database: its server, sessions, disk, standbys and logins."""

import os
import random
import signal
import time
from contextlib import suppress

import psutil
import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import ChaosStack
from tests.faults.campaign.queries import execute_autocommit, query
from tests.faults.campaign.signals import run_later, send_signal

FULL_SECONDS = 2.0
_END_TASKS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE starts_with(application_name, 'ratesflow-') AND starts_with(usename::text, 'loader')
"""


def kill_database(chaos: ChaosStack, _: random.Random) -> bool:
    """SIGKILL the database server; the stack restarts it, and it recovers."""
    return send_signal(chaos.postmaster(), signal.SIGKILL)


def kill_backend(chaos: ChaosStack, rng: random.Random) -> bool:
    """SIGKILL one session of the database, after which the server resets all sessions."""
    server = chaos.postmaster()
    with suppress(psutil.Error, IndexError):
        if server is not None:
            sessions = [each for each in server.children() if "127.0.0.1" in " ".join(each.cmdline())]
            return send_signal(rng.choice(sessions), signal.SIGKILL)
    return False


def end_sessions(chaos: ChaosStack, _: random.Random) -> bool:
    """Terminate the sessions of all tasks, as an administrator or a failover does."""
    with suppress(psycopg2.Error):
        return bool(query(chaos.owner_url, _END_TASKS))
    return False


def demote_writer(chaos: ChaosStack, rng: random.Random) -> bool:
    """Make the server read-only and terminate all sessions of tasks, as after a failover to another writer."""
    with suppress(psycopg2.Error):
        execute_autocommit(chaos.superuser_url, "ALTER SYSTEM SET default_transaction_read_only = on")
        query(chaos.superuser_url, "SELECT pg_reload_conf()")
        query(chaos.owner_url, _END_TASKS)
        run_later(rng.choice([1.0, 2.0, 4.0]), lambda: promote(chaos))
        return True
    promote(chaos)
    return False


def promote(chaos: ChaosStack, seconds: float = 60) -> None:
    """Make the server writable again as soon as it is available. Raises psycopg2.Error after a timeout."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            execute_autocommit(chaos.superuser_url, "ALTER SYSTEM RESET default_transaction_read_only")
            query(chaos.superuser_url, "SELECT pg_reload_conf()")
            return
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def full_disk(chaos: ChaosStack, _: random.Random) -> bool:
    """Fill the database's disk completely for a while."""
    folder = chaos.stack.home / "postgres"
    if not chaos.disk:
        return False
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        space = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
    run_later(FULL_SECONDS, lambda: ballast.unlink(missing_ok=True))
    return True


def pause_standby(chaos: ChaosStack, rng: random.Random) -> bool:
    """Pause the replay of a standby for a while."""
    chaos.standbys.pause(chaos.standbys.either(rng))
    run_later(rng.choice([1.0, 3.0]), chaos.standbys.resume)
    return True


def lag_standby(chaos: ChaosStack, rng: random.Random) -> bool:
    """Change the replay delay of a standby."""
    chaos.standbys.lag(chaos.standbys.either(rng), rng.choice([0.0, 0.3, 1.0, 3.0]))
    return True


def rotate_logins(chaos: ChaosStack, _: random.Random) -> bool:
    """Switch the login of new tasks to the other user, and restart the standbys' API with its other user."""
    with suppress(BotoCoreError, ClientError):
        chaos.log_in(turn=True)
        return True
    return False


def analyze(chaos: ChaosStack, _: random.Random) -> bool:
    """Update the planner's statistics of all tables, including the catalogs."""
    with suppress(psycopg2.Error):
        query(chaos.owner_url, "ANALYZE")
        return True
    return False
