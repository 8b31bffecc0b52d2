"""The shards of a task. A shard is claimed in the transaction that does its work, so that nothing is done twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.batches.ledger import Entry, require_open

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


@dataclass(frozen=True)
class ClaimedShard:
    """The shard of `batch` that this process works on in one task; `entry` is the batch's row in the ledger."""

    connection: "Connection"
    batch: Batch
    entry: Entry
    task: str

    @property
    def _key(self) -> tuple[int, str, int]:
        return self.entry.batch_no, self.task, self.batch.shard

    @classmethod
    def of_open_batch(cls, connection: "Connection", batch: Batch, task: str) -> "ClaimedShard":
        """Start and return the shard of a batch. Raises ClosedError unless the batch is open. Does not lock the row."""
        with connection, connection.cursor() as cursor:
            shard = cls(connection, batch, require_open(cursor, batch.batch_id), task)
            shard._register_backend(cursor)
        return shard

    def start(self) -> bool:
        """Register this backend as working on the shard; return False if the shard is already done.

        Terminates the backend of an earlier attempt: if its machine is gone, it would hold its claim until TCP times
        out. Commits, so that the next attempt sees this backend.
        """
        with self.connection, self.connection.cursor() as cursor:
            return self._register_backend(cursor)

    def _register_backend(self, cursor: "Cursor") -> bool:
        cursor.execute(
            "SELECT pg_terminate_backend(activity.pid)"
            " FROM shards JOIN pg_stat_activity AS activity USING (pid, backend_start)"
            " WHERE batch_no = %s AND task = %s AND shard = %s AND done_at IS NULL AND pid <> pg_backend_pid()",
            self._key,
        )
        cursor.execute(
            "INSERT INTO shards (batch_no, task, shard, pid, backend_start)"
            " SELECT %s, %s, %s, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            " ON CONFLICT (batch_no, task, shard) DO UPDATE"
            " SET pid = excluded.pid, backend_start = excluded.backend_start WHERE shards.done_at IS NULL",
            self._key,
        )
        return cursor.rowcount == 1

    @contextmanager
    def claimed(self) -> "Iterator[tuple[Cursor, bool]]":
        """Open a transaction that locks the open batch and marks the shard as done when it commits.

        Yield its cursor, and False if the shard was already done. Raises ClosedError unless the batch is open.
        """
        with self.connection, self.connection.cursor() as cursor:
            require_open(cursor, self.batch.batch_id, "FOR SHARE")
            cursor.execute(
                "UPDATE shards SET done_at = now()"
                " WHERE batch_no = %s AND task = %s AND shard = %s AND done_at IS NULL",
                self._key,
            )
            yield cursor, cursor.rowcount == 1

    def record(self, cursor: "Cursor", rows: int, result: dict[str, Any] | None = None) -> None:
        """Store the result of the claimed shard."""
        cursor.execute(
            "UPDATE shards SET rows = %s, result = %s WHERE batch_no = %s AND task = %s AND shard = %s",
            (rows, json.dumps(result or {}), *self._key),
        )

    def rows(self, cursor: "Cursor") -> int:
        """Return the number of rows of the finished shard."""
        cursor.execute("SELECT rows FROM shards WHERE batch_no = %s AND task = %s AND shard = %s", self._key)
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def terminate_backends(cursor: "Cursor", batch_no: int) -> None:
    """Terminate all backends that work on a shard of the batch, before the batch is closed."""
    cursor.execute(
        "SELECT pg_terminate_backend(activity.pid)"
        " FROM shards JOIN pg_stat_activity AS activity USING (pid, backend_start)"
        " WHERE batch_no = %s AND done_at IS NULL AND pid <> pg_backend_pid()",
        (batch_no,),
    )


def done(cursor: "Cursor", batch_no: int, task: str) -> list[dict[str, Any]]:
    """Return the results of the finished shards of a task, in order, each with its `rows`."""
    cursor.execute(
        "SELECT rows, result FROM shards WHERE batch_no = %s AND task = %s AND done_at IS NOT NULL ORDER BY shard",
        (batch_no, task),
    )
    return [{"rows": rows, **result} for rows, result in cursor.fetchall()]


def unfinished(cursor: "Cursor", batch_no: int, task: str, count: int) -> list[int]:
    """Return the unfinished shards of an array job with `count` shards, including those that never started."""
    cursor.execute(
        "SELECT shard FROM generate_series(0, %s - 1) AS shard WHERE shard NOT IN"
        " (SELECT shard FROM shards WHERE batch_no = %s AND task = %s AND done_at IS NOT NULL) ORDER BY shard",
        (count, batch_no, task),
    )
    return [shard for (shard,) in cursor.fetchall()]
