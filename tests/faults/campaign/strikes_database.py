"""The strikes that hit the database: its server, its sessions, its disk, its standbys, its logins."""

import os
import random
import signal
import time
from contextlib import suppress

import psutil
import psycopg2
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.campaign.chaos_stack import Field
from tests.faults.campaign.queries import alone, asked
from tests.faults.campaign.signals import hit, later

FULL_SECONDS = 2.0
_END_TASKS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE starts_with(application_name, 'ratesflow-') AND starts_with(usename::text, 'loader')
"""


def kill_database(field: Field, _: random.Random) -> bool:
    """SIGKILL the database server; the stack starts it again, and it recovers."""
    return hit(field.postmaster(), signal.SIGKILL)


def kill_backend(field: Field, rng: random.Random) -> bool:
    """SIGKILL one session of the database, after which the server restarts all of them."""
    server = field.postmaster()
    with suppress(psutil.Error, IndexError):
        if server is not None:
            sessions = [each for each in server.children() if "127.0.0.1" in " ".join(each.cmdline())]
            return hit(rng.choice(sessions), signal.SIGKILL)
    return False


def end_sessions(field: Field, _: random.Random) -> bool:
    """End the sessions of all tasks, as an administrator or a failover does."""
    with suppress(psycopg2.Error):
        return bool(asked(field.owner_url, _END_TASKS))
    return False


def demote_writer(field: Field, rng: random.Random) -> bool:
    """Let the server take no writes, and end all sessions of tasks, as where a failover made another the writer."""
    with suppress(psycopg2.Error):
        alone(field.superuser_url, "ALTER SYSTEM SET default_transaction_read_only = on")
        asked(field.superuser_url, "SELECT pg_reload_conf()")
        asked(field.owner_url, _END_TASKS)
        later(rng.choice([1.0, 2.0, 4.0]), lambda: promote(field))
        return True
    promote(field)
    return False


def promote(field: Field, seconds: float = 60) -> None:
    """Let the server take writes again, as soon as it is there; raises psycopg2.Error when it is not in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            alone(field.superuser_url, "ALTER SYSTEM RESET default_transaction_read_only")
            asked(field.superuser_url, "SELECT pg_reload_conf()")
            return
        except psycopg2.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def full_disk(field: Field, _: random.Random) -> bool:
    """Leave the database's disk without a byte for a while."""
    folder = field.stack.home / "postgres"
    if not field.disk:
        return False
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        space = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
    later(FULL_SECONDS, lambda: ballast.unlink(missing_ok=True))
    return True


def pause_standby(field: Field, rng: random.Random) -> bool:
    """Let a standby replay nothing for a while."""
    field.standbys.pause(field.standbys.either(rng))
    later(rng.choice([1.0, 3.0]), field.standbys.resume)
    return True


def lag_standby(field: Field, rng: random.Random) -> bool:
    """Let a standby replay commits later than before, or at once again."""
    field.standbys.lag(field.standbys.either(rng), rng.choice([0.0, 0.3, 1.0, 3.0]))
    return True


def rotate_logins(field: Field, _: random.Random) -> bool:
    """Let the next tasks log in as the other user, and replace an API by one that does."""
    with suppress(BotoCoreError, ClientError):
        field.log_in(turn=True)
        return True
    return False


def analyze(field: Field, _: random.Random) -> bool:
    """Let the planner know all tables as they are now, those of the catalogues too."""
    with suppress(psycopg2.Error):
        asked(field.owner_url, "ANALYZE")
        return True
    return False
