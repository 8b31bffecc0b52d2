"""What each shard of a task has done: claimed in the same transaction as the work, so that nothing is done twice."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812


def register_backend(cursor: "Cursor", batch_no: int, task: str, shard: int) -> None:
    """Say that this backend works on a shard, and end the backend of an earlier attempt that still does.

    An attempt whose machine vanished can leave its backend waiting, with its claim, for as long as TCP takes.
    Commit at once, so that the next attempt sees it.
    """
    cursor.execute(
        "SELECT pg_terminate_backend(activity.pid)"
        " FROM shards JOIN pg_stat_activity AS activity USING (pid, backend_start)"
        " WHERE batch_no = %s AND task = %s AND shard = %s AND done_at IS NULL AND pid <> pg_backend_pid()",
        (batch_no, task, shard),
    )
    cursor.execute(
        "INSERT INTO shards (batch_no, task, shard, pid, backend_start)"
        " SELECT %s, %s, %s, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        " ON CONFLICT (batch_no, task, shard) DO UPDATE"
        " SET pid = excluded.pid, backend_start = excluded.backend_start WHERE shards.done_at IS NULL",
        (batch_no, task, shard),
    )


def terminate_backends(cursor: "Cursor", batch_no: int) -> None:
    """End every backend that still works on a shard of the batch: the batch is about to be closed."""
    cursor.execute(
        "SELECT pg_terminate_backend(activity.pid)"
        " FROM shards JOIN pg_stat_activity AS activity USING (pid, backend_start)"
        " WHERE batch_no = %s AND done_at IS NULL AND pid <> pg_backend_pid()",
        (batch_no,),
    )


def is_done(cursor: "Cursor", batch_no: int, task: str, shard: int) -> bool:
    """Tell whether an earlier attempt has done a shard."""
    cursor.execute(
        "SELECT done_at IS NOT NULL FROM shards WHERE batch_no = %s AND task = %s AND shard = %s",
        (batch_no, task, shard),
    )
    return cursor.fetchone() == (True,)


def claim(cursor: "Cursor", batch_no: int, task: str, shard: int) -> bool:
    """Mark a shard as done, if this transaction commits. False when it is done already."""
    cursor.execute(
        "UPDATE shards SET done_at = now() WHERE batch_no = %s AND task = %s AND shard = %s AND done_at IS NULL",
        (batch_no, task, shard),
    )
    return cursor.rowcount == 1


def record(cursor: "Cursor", batch_no: int, task: str, shard: int, rows: int, result: dict[str, Any]) -> None:
    """Keep what the merge needs of a shard that was claimed."""
    cursor.execute(
        "UPDATE shards SET rows = %s, result = %s WHERE batch_no = %s AND task = %s AND shard = %s",
        (rows, json.dumps(result), batch_no, task, shard),
    )


def rows(cursor: "Cursor", batch_no: int, task: str, shard: int) -> int:
    """Return how many rows a shard that is done has."""
    cursor.execute("SELECT rows FROM shards WHERE batch_no = %s AND task = %s AND shard = %s", (batch_no, task, shard))
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def done(cursor: "Cursor", batch_no: int, task: str) -> list[dict[str, Any]]:
    """Return what is known of every shard of a task that is done, in order, each with its `rows`."""
    cursor.execute(
        "SELECT rows, result FROM shards WHERE batch_no = %s AND task = %s AND done_at IS NOT NULL ORDER BY shard",
        (batch_no, task),
    )
    return [{"rows": rows, **result} for rows, result in cursor.fetchall()]


def undone(cursor: "Cursor", batch_no: int, task: str, count: int) -> list[int]:
    """Return which of the `count` shards of an array job are not done; some may never have begun."""
    cursor.execute(
        "SELECT shard FROM generate_series(0, %s - 1) AS shard WHERE shard NOT IN"
        " (SELECT shard FROM shards WHERE batch_no = %s AND task = %s AND done_at IS NOT NULL) ORDER BY shard",
        (count, batch_no, task),
    )
    return [shard for (shard,) in cursor.fetchall()]
