"""Milliseconds of the commit transaction, by the size of the batch."""

import time
from collections import defaultdict
from contextlib import closing
from typing import Any

import psycopg2

from benchmarks.loading import lanes, ours
from benchmarks.options import TEN_MILLION, Options, label
from benchmarks.results import Measure, median, percentile, ratio
from benchmarks.servers import BUCKET, Servers
from ratesflow.database.connect import connect
from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.tasks.commit import commit

SIZES = (10_000, 100_000, 1_000_000)
COMMITS_A_ROUND = 20


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Commit a loaded batch of each size many times, the sizes in turn.

    A batch commits once, so the owner of the database reopens it after each commit.
    """
    database = servers.new_database()
    batches = {rows: _loaded(servers, database, rows, options) for rows in options.sizes(*SIZES)}
    samples: dict[int, list[float]] = defaultdict(list)
    with closing(connect(servers.url(database, "loader"), "bench")) as connection:
        for _ in range(options.rounds):
            servers.settle()
            for rows, sent in batches.items():
                samples[rows] += [_commit_once(servers, connection, sent) for _ in range(COMMITS_A_ROUND)]
    servers.drop_database(database)
    return _figures(samples)


def _figures(samples: dict[int, list[float]]) -> dict[str, Measure]:
    found = {}
    for rows, milliseconds in samples.items():
        found[f"commit_ms_{label(rows)}"] = median(milliseconds)
        worst = percentile(milliseconds, 0.99)
        found[f"commit_p99_ms_{label(rows)}"] = Measure(worst, worst, worst, len(milliseconds))
    if TEN_MILLION in samples and SIZES[0] in samples:
        found["commit_10m_vs_10k"] = ratio(samples[TEN_MILLION], samples[SIZES[0]])
    return found


def _loaded(servers: Servers, database: str, rows: int, options: Options) -> ours.UploadedBatch:
    options.log(f"commit: loading {rows:,} rows")
    path = lanes.write(servers.folder / "batch.csv", rows, seed=rows)
    sent = ours.upload(servers, path, database)
    for task in ("validate", "load"):
        ours.run_task(servers, sent, task)
    ours.remove(servers, sent)
    return sent


def _commit_once(servers: Servers, connection: Any, sent: ours.UploadedBatch) -> float:
    """Return the milliseconds of one commit: its statements and the wait for the disk, without connecting."""
    batch = Batch(sent.batch_id, BUCKET, sent.key, sent.version)
    began = time.perf_counter()
    result = commit(connection, batch, FreightPrices())
    milliseconds = 1000 * (time.perf_counter() - began)
    if result.outcome != "committed":
        raise RuntimeError(f"{sent.batch_id}: {result.outcome} {result.message}")
    reopen(servers, sent)
    return milliseconds


def reopen(servers: Servers, sent: ours.UploadedBatch) -> None:
    """Open a committed batch again, hidden as before."""
    with closing(psycopg2.connect(servers.url(sent.database))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE batches SET state = 'open', closed_at = NULL WHERE batch_id = %s RETURNING batch_no",
            (sent.batch_id,),
        )
        cursor.execute("DELETE FROM visible_batches WHERE batch_no = %s", cursor.fetchone())
