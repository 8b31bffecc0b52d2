"""Milliseconds of a read on an idle server, during commits, and during a load."""

import time
from contextlib import closing

from benchmarks.loading import lanes, ours
from benchmarks.loading.commits import reopen
from benchmarks.options import Options
from benchmarks.reading.process import ReadTimes, readers
from benchmarks.results import Measure
from benchmarks.servers import BUCKET, Servers
from ratesflow.database.connect import connect
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.tasks.commit import commit

READ_ROWS, COMMIT_ROWS, LOAD_ROWS = 1_000_000, 100_000, 1_000_000
PHASE_SECONDS = 4.0
SECONDS_BETWEEN_COMMITS = 0.05


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Read a batch of a million rows: idle and during commits in turn, and while another batch is loaded."""
    database = servers.new_database()
    options.log("readers: loading")
    read = _sent(servers, database, options.rows or READ_ROWS, seed=1)
    ours.run_whole(servers, read)
    hidden = _sent(servers, database, min(options.rows or COMMIT_ROWS, COMMIT_ROWS), seed=2)
    for task in ("validate", "load"):
        ours.run_task(servers, hidden, task)
    with readers(servers, database) as times:
        for number in range(options.rounds):
            options.log(f"readers: round {number + 1} of {options.rounds}")
            servers.settle()
            with times.phase("idle"):
                time.sleep(PHASE_SECONDS)
            _commits(servers, hidden, times)
            if number < 3:
                _load(servers, database, options.rows or LOAD_ROWS, number, times)
    servers.drop_database(database)
    errors = float(times.errors)
    return options.named({**times.figures("reader", "idle"), "reader_errors": Measure(errors, errors, errors)})


def _sent(servers: Servers, database: str, rows: int, seed: int) -> ours.UploadedBatch:
    path = lanes.write(servers.folder / "batch.csv", rows, seed)
    return ours.upload(servers, path, database)


def _commits(servers: Servers, hidden: ours.UploadedBatch, times: ReadTimes) -> None:
    """Commit the hidden batch and reopen it, twenty times a second."""
    batch = Batch(hidden.batch_id, BUCKET, hidden.key, hidden.version)
    with closing(connect(servers.url(hidden.database, "loader"), "bench")) as connection, times.phase("commit"):
        end = time.monotonic() + PHASE_SECONDS
        while time.monotonic() < end:
            commit(connection, batch, FreightPrices())
            time.sleep(SECONDS_BETWEEN_COMMITS / 2)
            reopen(servers, hidden)
            time.sleep(SECONDS_BETWEEN_COMMITS / 2)


def _load(servers: Servers, database: str, rows: int, number: int, times: ReadTimes) -> None:
    sent = _sent(servers, database, rows, seed=10 + number)
    servers.settle()
    for task in ("validate", "load"):
        with times.phase(task):
            ours.run_task(servers, sent, task)
    ours.remove(servers, sent)
