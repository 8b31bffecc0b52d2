"""The PostgreSQL server and the embedded AWS of a run, as shipped, in a folder of their own."""

import os
import platform
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import psycopg2

from ratesflow.database import reference, reference_change
from ratesflow.database.migrate import migrate
from ratesflow.local.deploy import CREDENTIALS, REGION, AwsClients, clients
from ratesflow.local.postgres.rds_master import MASTER
from ratesflow.local.postgres.server import Postgres, start_postgres
from ratesflow.local.processes import free_port, last_lines, python, start, stop

# As `ratesflow up` starts it; everything else is PostgreSQL's default, fsync and full_page_writes included.
SETTINGS = {"max_wal_size": "4GB", "max_connections": "200"}
BUCKET = "ratesflow-bench"
START_SECONDS = 60
BUSY = 0.5  # load average over one minute
TEMPLATE = "template"


@dataclass
class Servers:
    """Both servers, and the environment of tasks that use them."""

    folder: Path
    postgres: Postgres
    endpoint: str
    aws: AwsClients
    password: str
    _databases: int = field(default=0)

    def new_database(self) -> str:
        """Create a database with the schema and the built-in ports and regions; return its name."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database with everything in it."""
        # Autovacuum may run there, which only a superuser may stop.
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", url=self.postgres.superuser_url())

    def url(self, database: str, user: str = MASTER) -> str:
        """Return the address of a database for the master, loader or api."""
        if user == MASTER:
            return self.postgres.url(database=database)
        return self.postgres.url(user, self.password, database)

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment of a task: the user's, with the settings of AWS and the database replaced."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DATABASE_"))}
        return {
            **kept,
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "RATESFLOW_BUCKET": BUCKET,
            "DATABASE_URL": self.url(database, "loader"),
        }

    def execute(self, statement: str, database: str = "postgres", url: str | None = None) -> None:
        """Execute a statement outside any transaction, as the master or as the user of `url`."""
        with closing(psycopg2.connect(url or self.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def query(self, database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with closing(psycopg2.connect(self.url(database))) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def settle(self) -> None:
        """Run a checkpoint, so that the next measurement does not include the writes of earlier ones."""
        self.execute("CHECKPOINT")

    def versions(self) -> dict[str, str]:
        """Return the versions of PostgreSQL, Python and the packages in use."""
        ((server,),) = self.query("postgres", "SHOW server_version")
        found = {name: version(name) for name in ("pandas", "numpy", "psycopg2-binary", "boto3", "moto")}
        return {"postgresql": str(server).split()[0], "python": platform.python_version(), **found}


@contextmanager
def running(folder: Path | None = None) -> Iterator[Servers]:
    """Start both servers, and stop them at the end; delete their folder unless `folder` is given."""
    home = folder or Path(tempfile.mkdtemp(prefix="ratesflow-bench-"))
    home.mkdir(parents=True, exist_ok=True)
    password = secrets.token_hex(12)
    postgres = start_postgres(home / "postgres", free_port(), password, home / "postgres.log", settings=SETTINGS)
    port = free_port()
    aws = start(python("ratesflow.local.aws", "--port", str(port), "--data", str(home / "aws")), home / "aws.log")
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(f"{endpoint}/moto-api/data.json", home / "aws.log")
        servers = Servers(home, postgres, endpoint, clients(endpoint), password)
        _prepare(servers)
        yield servers
    finally:
        stop(aws, signal.SIGTERM, grace_seconds=15)
        postgres.stop()
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=2):  # noqa: S310 our own address
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} does not respond. The end of its log:\n{last_lines(log)}")


def _prepare(servers: Servers) -> None:
    """Create the bucket, the users, and the template of all databases."""
    s3 = servers.aws("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    servers.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(servers.url(TEMPLATE))
    for user, role in {"loader": "ratesflow_loader", "api": "ratesflow_reader"}.items():
        servers.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{servers.password}'; GRANT {role} TO {user}")
    with closing(psycopg2.connect(servers.url(TEMPLATE))) as connection:
        reference_change.load(connection, reference.builtin())


def machine() -> str:
    """Return a description of the machine: processor, cores, memory, system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = round(psutil.virtual_memory().total / 2**30)
    return f"{name}, {os.cpu_count()} cores, {memory} GB, {platform.system()} {platform.release()}"


def warn_if_busy() -> None:
    """Print a warning if other processes use the processors, which distorts the results."""
    load = psutil.getloadavg()[0]
    if load > BUSY:
        print(f"Warning: the machine is busy (load {load:.1f}), so the results will be noisy.", file=sys.stderr)  # noqa: T201
