"""Nothing hangs forever: neither a thread because of another's COPY, nor a task."""

import os
import select
import socket
import subprocess
import sys
import threading
import time

import psycopg2
import pytest

from ratesflow.loader.files.streams import IteratorIO
from ratesflow.loader.runtime import watchdog
from ratesflow.loader.runtime.connection import LOCK_TIMEOUT_SECONDS, connected
from ratesflow.loader.tasks.registry import all_tasks
from tests.loader.conftest import TaskHarness
from tests.loader.processes import finish, start, wait_until
from tests.loader.samples import csv, rows

_BROKEN_HALVES = """
import faulthandler, gc, threading
from ratesflow.loader.batches import s3
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.files.streams import IteratorIO

class Part:
    def __init__(self, batch, at, stop): self.at, self.stop = at, stop
    def open(self): pass
    def read(self): return bytes(1 << 20)

s3._Part = Part
faulthandler.dump_traceback_later(20, exit=True)
gc.set_threshold(100)

def broken(blocks):
    for block in blocks:
        raise OSError("the other half of the shard was not loaded")
        yield block

def work():
    for _ in range(300):
        try:
            IteratorIO(broken(s3.parts(Batch("", "", "", ""), 0, 64 << 20))).read(1)
        except OSError:
            pass

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_unfinished_generators_are_collected_anywhere() -> None:
    """Unfinished generators of blocks are closed wherever the garbage collector runs, without a deadlock."""
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN_HALVES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


class _Breaking:
    """Blocks that fail when the socket of the connection is full to the last byte."""

    def __init__(self, connection: psycopg2.extensions.connection, failure: bool) -> None:
        self._socket, self._failure, self.is_full = os.dup(connection.fileno()), failure, threading.Event()

    def __iter__(self):
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        while writable.poll(0):
            yield b"2021-01-31,1\n" * 100
        with socket.socket(fileno=self._socket) as full:
            for size in (1 << 16, 1):
                try:
                    while True:
                        full.send(b"x" * size)
                except BlockingIOError:
                    pass
        self.is_full.set()
        if self._failure:
            raise OSError("the other half of the shard was not loaded")


@pytest.mark.parametrize("failure", [True, False], ids=["fails", "ends"])
def test_a_copy_whose_socket_is_full_stops_no_other_thread(harness18: TaskHarness, failure: bool) -> None:
    """While the server waits for a lock of another thread, that thread continues and releases the lock."""
    harness18.database.query("CREATE TABLE held (day date, price integer)")
    harness18.database.query("GRANT INSERT ON held TO loader")
    harness18.database.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END'"
    )
    harness18.database.query("CREATE TRIGGER held BEFORE INSERT ON held FOR EACH ROW EXECUTE FUNCTION wait()")
    holder = harness18.database.connect()
    holder.cursor().execute("SELECT pg_advisory_xact_lock(1)")
    freed: list[float] = []

    def let_go() -> None:
        assert blocks.is_full.wait(30)
        holder.rollback()
        freed.append(time.monotonic())

    with connected("load") as connection, connection.cursor() as cursor:
        blocks = _Breaking(connection, failure)
        stream = IteratorIO(iter(blocks))
        other = threading.Thread(target=let_go)
        other.start()
        began = time.monotonic()
        # What fills the socket is not what the server expects: whether the COPY ends or fails, it fails.
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY held FROM STDIN (FORMAT csv)", stream)
        other.join()
    holder.close()
    # Well before the server gives up waiting for the lock, which frees everybody.
    assert freed[0] - began < LOCK_TIMEOUT_SECONDS / 2


_WATCHED = """
import ctypes, sys, threading, time
from ratesflow.loader.runtime import watchdog
watchdog.GRACE_SECONDS = 0
watchdog.start(watchdog.Limits(1, 3))
native = ctypes.PyDLL(None)  # calls without letting go of the interpreter's lock

def works(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        watchdog.alive()

def half(job):
    with watchdog.watched():
        job()
"""
_HANGS = {
    "native code holds the interpreter": "native.sleep(60)",
    "it waits for nothing": "time.sleep(60)",
    "one half stands still": "threading.Thread(target=half, args=[lambda: time.sleep(60)]).start(); works(60)",
    "a statement takes too long": "with watchdog.statement(): time.sleep(60)",
}
_WORKS = {
    "it makes progress": "works(3)",
    "a long statement": "with watchdog.statement(): time.sleep(2.5)",
    "it waits for the other half": (
        "other = threading.Thread(target=half, args=[lambda: works(3)]); other.start()\n"
        "with watchdog.suspended(): other.join()\n"
    ),
}


def test_the_watchdog_ends_only_processes_that_hang() -> None:
    """A process that hangs exits with 1 and prints all stacks within the limit; one with progress is not ended."""
    running = {
        name: subprocess.Popen([sys.executable, "-c", _WATCHED + code], stderr=subprocess.PIPE, text=True)
        for name, code in {**_HANGS, **_WORKS}.items()
    }
    began = time.monotonic()
    for name, process in running.items():
        _, stacks = process.communicate(timeout=50)
        assert process.returncode == (watchdog.EXIT_CODE if name in _HANGS else 0), f"{name}: {stacks}"
        assert name in _WORKS or ("Timeout" in stacks and 'File "<string>"' in stacks)
    assert time.monotonic() - began < 30


def test_a_task_that_hangs_in_a_statement_is_ended(harness18: TaskHarness) -> None:
    """If the server does not respond, the task's log has the stacks, and its session is gone."""
    batch = harness18.send(csv(rows(10)))
    holder = harness18.database.connect()
    holder.cursor().execute("LOCK TABLE batches IN EXCLUSIVE MODE")
    limits = "from ratesflow.loader.runtime import watchdog; from ratesflow.loader.tasks import validate; "
    limits += "object.__setattr__(validate.TASK, 'limits', watchdog.Limits(1, 1, session=100))"
    named = ("--bucket", batch.bucket, "--key", batch.key, "--version", batch.version, "--batch-id", batch.batch_id)
    code, output = finish(start("validate", *named, patches=limits + "; watchdog.GRACE_SECONDS = 0"))
    assert code == watchdog.EXIT_CODE
    assert "open_entry" in output
    wait_until(lambda: not harness18.database.query("SELECT FROM pg_locks WHERE NOT granted"), 5)
    holder.close()


def test_every_task_has_limits_that_end_it_well_before_its_time() -> None:
    """Limits are at most three quarters of the job's timeout, and the server's are shorter than the task's."""
    for task in all_tasks():
        longest = max(task.limits.silence, task.limits.statement + watchdog.GRACE_SECONDS)
        assert longest <= task.run_seconds * 3 / 4, task.name
        assert (task.limits.session or task.limits.statement) < task.run_seconds
