"""A reader like the API: it runs the API's prepared statement at a steady rate, and times each read.

`python -m benchmarks.reading.reader DATABASE_URL FILE READS_A_SECOND SEED` reads until its standard input ends, then
writes its reads to FILE: pairs of a start (by the system's monotonic clock) and milliseconds.
"""

import gc
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg2

from ratesflow.api.postgres.queries import LATEST, RATES_OF_LANES, session
from ratesflow.database.connect import connect

READ = RATES_OF_LANES.replace("%s)", f"{LATEST})")
# The possible reads: a month of one lane, as in a typical request.
LANES = "SELECT DISTINCT orig_code, dest_code, month::text, (month + '1 mon -1 day'::interval)::date::text FROM rates"
ONLY_PORTS = " WHERE orig_code IN (SELECT code FROM ports)"


def prepared(url: str) -> tuple[Any, list[tuple[Any, ...]]]:
    """Return a connection with the API's prepared statements, and the parameters of possible reads."""
    connection = connect(url, "bench-reader")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(LANES + ONLY_PORTS)
        reads = cursor.fetchall()
        cursor.execute(session(timeout_seconds=5))
    return connection, reads


def _end_with_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(url: str, path: str, pace: str, seed: str) -> None:
    """Read until standard input ends; a read that fails counts as an error."""
    ended = threading.Event()
    threading.Thread(target=_end_with_input, args=(ended,), daemon=True).start()
    connection, reads = prepared(url)
    rng = random.Random(int(seed))  # noqa: S311 reproducible
    gc.disable()  # a pause of this process is not one of the database
    samples: list[tuple[float, float]] = []
    errors, step = 0, 1 / float(pace)
    due = time.monotonic()
    print("ready", flush=True)  # noqa: T201 the signal to start
    with connection.cursor() as cursor:
        while not ended.is_set():
            due += step
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
                began = time.monotonic()
            else:
                began = due  # this read waited for the previous one
            try:
                cursor.execute(READ, rng.choice(reads))
                cursor.fetchall()
            except psycopg2.Error:
                errors += 1
            samples.append((began, 1000 * (time.monotonic() - began)))
    Path(path).write_text(json.dumps({"samples": samples, "errors": errors}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
