"""Databases for the measurements of the API: prices in our schema, and in the first version's."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from benchmarks.loading import lanes
from ratesflow.database import reference, reference_change
from ratesflow.database.migrate import migrate
from ratesflow.local.postgres.server import Postgres, start_postgres
from ratesflow.local.processes import free_port

PASSWORD = "only-for-benchmarks"  # noqa: S105 of a server that lives for one run
# As `ratesflow up` starts it.
SETTINGS = {"max_wal_size": "4GB", "max_connections": "200"}

RAW = "CREATE UNLOGGED TABLE raw (orig_code text, dest_code text, day date, price integer)"
# The lanes between ports, then those between regions, which have the prices between all of their ports.
LANE_DAYS = """
CREATE TEMPORARY TABLE lane_days AS
SELECT orig_code, dest_code, day, count(*)::integer AS count, sum(price)::bigint AS sum
FROM raw GROUP BY orig_code, dest_code, day
"""
REGION_DAYS = """
INSERT INTO lane_days
SELECT orig.slug, dest.slug, day, sum(count)::integer, sum(sum)::bigint
FROM lane_days
JOIN port_regions AS orig ON orig.code = orig_code
JOIN port_regions AS dest ON dest.code = dest_code
GROUP BY orig.slug, dest.slug, day
"""
RATES = """
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT 0, month, orig_code, dest_code,
    array_agg(coalesce(count, 0) ORDER BY days.day), array_agg(coalesce(sum, 0) ORDER BY days.day)
FROM (SELECT DISTINCT orig_code, dest_code, date_trunc('month', day)::date AS month FROM lane_days) AS lane_months
CROSS JOIN LATERAL generate_series(month, month + '1 mon -1 day'::interval, '1 day') AS days (day)
LEFT JOIN lane_days USING (orig_code, dest_code, day)
GROUP BY orig_code, dest_code, month
ORDER BY orig_code, dest_code, month
"""
# The first version's table, with the best index for its query, which allows index-only scans.
FIRST = """
CREATE TABLE first_prices AS TABLE raw;
CREATE INDEX ON first_prices (orig_code, dest_code, day) INCLUDE (price);
GRANT SELECT ON first_prices TO PUBLIC
"""


@contextmanager
def server(folder: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL server for this run, with the API's user."""
    postgres = start_postgres(folder / "pg", free_port(), PASSWORD, folder / "pg.log", settings=SETTINGS)
    try:
        yield postgres
    finally:
        postgres.stop()


def fill(
    postgres: Postgres, name: str, folder: Path, rows: int, days: int | None = None, *, first: bool = False
) -> str:
    """Create a database with `rows` prices; return the URL by which the API reads it."""
    with closing(psycopg2.connect(postgres.url())) as connection:
        connection.autocommit = True
        _run(connection, f"CREATE DATABASE {name}")
    migrate(postgres.url(database=name))
    path = lanes.write(folder / "prices.csv", rows, seed=6, days=days)
    with closing(psycopg2.connect(postgres.url(database=name))) as connection:
        reference_change.load(connection, reference.builtin())
        connection.autocommit = True
        _run(connection, "SET work_mem = '256MB'", RAW)
        with connection.cursor() as cursor, path.open("rb") as file:
            cursor.copy_expert("COPY raw FROM STDIN (FORMAT csv, HEADER)", file)
        _run(connection, LANE_DAYS, "ANALYZE lane_days", REGION_DAYS, "ANALYZE lane_days", RATES)
        _run(connection, "UPDATE data_version SET version = version + 1")
        if first:
            _run(connection, FIRST)
        _run(connection, "DROP TABLE raw", "VACUUM ANALYZE", "CHECKPOINT")
        _run(connection, f"DO $$ BEGIN CREATE ROLE api LOGIN PASSWORD '{PASSWORD}' IN ROLE ratesflow_reader;"
                         " EXCEPTION WHEN duplicate_object THEN NULL; END $$")  # fmt: skip
    path.unlink()
    return postgres.url("api", PASSWORD, name)


def _run(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def busy_lanes(url: str, count: int, *, regions: bool = False) -> list[tuple[str, str]]:
    """Return lanes that have prices, in a fixed pseudo-random order."""
    kind = "NOT IN" if regions else "IN"
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT orig_code, dest_code FROM rates WHERE orig_code {kind} (SELECT code FROM ports)"  # noqa: S608
            " GROUP BY 1, 2 ORDER BY md5(orig_code || dest_code) LIMIT %s",
            (count,),
        )
        return cursor.fetchall()


def wrk_version() -> str:
    """Return the version of wrk. Raises FileNotFoundError if it is not installed."""
    done = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.split()[1]
