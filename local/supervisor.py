"""Runs one stack: starts its processes in order, restarts those that die, and stops all at the end."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError
from psycopg2 import sql

from ratesflow.database.migrate import SchemaMismatchError, migrate
from ratesflow.database.reference import builtin, stored
from ratesflow.database.reference_change import load
from ratesflow.local.deploy import Databases, deploy
from ratesflow.local.postgres.rds_master import MASTER
from ratesflow.local.postgres.server import SUPERUSER, Postgres, start_postgres
from ratesflow.local.processes import StackError, free_port, python, require_free_port, start, stop
from ratesflow.local.recover import recover
from ratesflow.local.roles import credentials
from ratesflow.local.scheduler import Schedule
from ratesflow.local.startup import responds, wait_until_ready
from ratesflow.local.state_directory import StateDirectory
from ratesflow.workflow.timestamps import iso

DATABASE = "ratesflow"
# The database users with the role of each.
LOGINS = {"loader": "ratesflow_loader", "api": "ratesflow_reader"}
API_WORKERS = 2
NAMES = {"aws": "the embedded AWS", "events": "the trigger", "api": "the API", "console": "the console"}
# The environment variables of the Lambda handler, as on AWS.
_HANDLER_VARIABLES = (
    "RATESFLOW_DEAD_LETTER_QUEUE_URL",
    "RATESFLOW_IGNORED_FILES",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
)


@dataclass(frozen=True)
class Ports:
    """The ports of the stack on 127.0.0.1; 0 picks a free port."""

    api: int = 3000
    aws: int = 4566
    console: int = 8080

    def resolved(self) -> "Ports":
        """Return the ports with a free port in place of each 0."""
        found = [self.api, self.aws, self.console]
        for at in range(len(found)):
            while found[at] == 0 and (port := free_port()):
                if port not in found:  # the others are not in use yet, so that it could be one of them
                    found[at] = port
        return Ports(*found)


@dataclass
class Stack:
    """The processes of a running stack."""

    home: StateDirectory
    ports: Ports
    postgres: Postgres | None = None
    children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    _recovered: bool = True

    def start(self) -> None:
        """Start all processes. Raises StackError if one cannot start, after stopping the others."""
        require_free_port(self.ports.api, "--api-port")
        require_free_port(self.ports.aws, "--aws-port")
        require_free_port(self.ports.console, "--console-port")
        self.ports = self.ports.resolved()
        try:
            self._launch_aws()  # it starts beside the database, and what needs the database beside the deployment
            self.home.set_starting("PostgreSQL")
            databases = self._start_database()
            self._launch_api()
            self._await("aws", self._aws_responds)
            self.environment = {
                **deploy(self._endpoint, databases),
                "RATESFLOW_API_URL": self._api_url,
                "RATESFLOW_CONSOLE_URL": self._console_url,
                "DATABASE_URL": self._url(),
            }
            self._launch_events()
            self._launch_console()
            self._await("api", self._api_responds)
            self._await("console", self._console_responds)
            self.home.set_starting("interrupted executions to restart")
            recover(self.environment, self.home.aws)
        except BaseException:
            self.stop()
            raise
        self.home.set_starting("")
        self.home.write_environment(self.environment)

    def supervise(self) -> None:
        """Restart processes that die, until SIGTERM or SIGINT."""
        ended = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.append(True))
        schedule = Schedule(self.environment)
        while not ended:
            time.sleep(0.2)
            try:
                self._restart_dead()
            except (StackError, BotoCoreError, ClientError, psycopg2.Error) as error:
                # Another process died during the restart: the next check restarts both.
                self._log(f"restart failed, retrying: {type(error).__name__}: {error}")
            schedule.tick()

    def stop(self) -> None:
        """Stop all processes, the database last."""
        self.home.environment_file.unlink(missing_ok=True)
        self.home.set_starting("")
        for name in ("events", "console", "api", "aws"):
            if child := self.children.pop(name, None):
                stop(child, signal.SIGTERM, grace_seconds=15)
        if self.postgres:
            self.postgres.stop()

    def _restart_dead(self) -> None:
        """Restart the processes that are not running."""
        if self.postgres and self.postgres.process.poll() is not None:
            self._log("PostgreSQL ended; restarting it")
            self.postgres.restart()
        if self.children["aws"].poll() is not None:
            self._log("the embedded AWS ended; restarting it")
            self._recovered = False
            self._launch_aws()
            self._await("aws", self._aws_responds)
        if not self._recovered:
            deploy(self._endpoint, self._databases())
            recover(self.environment, self.home.aws)
            self._recovered = True
        starts = {
            "events": (self._launch_events, lambda: True),
            "api": (self._launch_api, self._api_responds),
            "console": (self._launch_console, self._console_responds),
        }
        for name, (launch, ready) in starts.items():
            if self.children[name].poll() is not None:
                self._log(f"{name} ended; restarting it")
                launch()
                self._await(name, ready)

    def _start_database(self) -> Databases:
        self.postgres = start_postgres(
            self.home.database,
            self._database_port(),
            self.home.password(MASTER),
            self.home.logs / "postgres.log",
            superuser_password=self.home.password(SUPERUSER),
            # The passwords are random and 192 bits long: many iterations would make logins slower, and nothing safer.
            settings={"max_wal_size": "4GB", "max_connections": "200", "scram_iterations": "1"},
        )
        _create_database(self.postgres)
        try:
            migrate(self._url())
        except SchemaMismatchError as error:
            folder = self.home.folder
            raise StackError(
                f"{error}: remove the folder {folder}, with all of its data (rm -r {folder}), or use another --home"
            ) from None
        with psycopg2.connect(self._url()) as connection, connection.cursor() as cursor:
            for user, role in LOGINS.items():
                _ensure_login(cursor, user, role, self.home.password(user))
            reference, _ = stored(cursor)
        if not reference.ports:
            load(connection, builtin())
        connection.close()
        return self._databases()

    def _database_port(self) -> int:
        """Return the previous port if it is free, so that configured clients keep working."""
        file = self.home.folder / "postgres.port"
        previous = int(file.read_text()) if file.exists() else 0
        port = free_port(previous)
        while port in (self.ports.api, self.ports.aws, self.ports.console):  # nobody listens there yet
            port = free_port()
        file.write_text(f"{port}\n")
        return port

    def _databases(self) -> Databases:
        return Databases(owner=self._url(), loader=self._url("loader"))

    def _url(self, user: str | None = None) -> str:
        assert self.postgres is not None
        if user is None:
            return self.postgres.url(database=DATABASE)
        return self.postgres.url(user, self.home.password(user), DATABASE)

    @property
    def _endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports.aws}"

    @property
    def _api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def _console_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.console}"

    def _aws_responds(self) -> bool:
        return responds(f"{self._endpoint}/moto-api/")

    def _api_responds(self) -> bool:
        return responds(f"{self._api_url}/health/ready")

    def _console_responds(self) -> bool:
        return responds(f"{self._console_url}/health")

    def _launch_aws(self) -> None:
        self._launch(
            "aws", python("ratesflow.local.aws", "--port", str(self.ports.aws), "--data", str(self.home.aws)), {}
        )

    def _launch_events(self) -> None:
        environment = {name: self.environment[name] for name in _HANDLER_VARIABLES} | credentials("trigger")
        environment["RATESFLOW_STATE_MACHINE_ARN"] = self.environment["RATESFLOW_STATE_MACHINE_ALIAS_ARN"]
        queue = self.environment["RATESFLOW_QUEUE_URL"]
        command = python("ratesflow.local.event_source_mapping", "--endpoint", self._endpoint, "--queue", queue)
        self._launch("events", command, environment)

    def _launch_api(self) -> None:
        command = python(
            "ratesflow.api", "--host", "127.0.0.1", "--port", str(self.ports.api), "--workers", str(API_WORKERS)
        )
        self._launch("api", command, {"DATABASE_URL": self._url("api")})

    def _launch_console(self) -> None:
        command = python(
            "ratesflow.workflow.console", "--home", str(self.home.folder), "--port", str(self.ports.console)
        )
        self._launch("console", command, {})

    def _launch(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.children[name] = start(command, self.home.logs / f"{name}.log", environment=environment)

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a process that was launched is ready; raises StackError if it ends, or takes too long."""
        self.home.set_starting(NAMES[name])
        wait_until_ready(NAMES[name], self.children[name], self.home.logs / f"{name}.log", ready)

    def _log(self, message: str) -> None:
        now = iso(datetime.now(UTC))
        with (self.home.logs / "stack.log").open("a", encoding="utf-8") as log:
            log.write(f"{now} {message}\n")


def _create_database(server: Postgres) -> None:
    connection = psycopg2.connect(server.url())
    connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    connection.close()


def _ensure_login(cursor: "psycopg2.extensions.cursor", user: str, role: str, password: str) -> None:
    cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (user,))
    verb = "CREATE" if cursor.fetchone() is None else "ALTER"
    cursor.execute(sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(sql.Identifier(user), sql.Literal(password)))
    cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(user)))


def run(folder: Path, ports: Ports, on_ready: Callable[[dict[str, str]], None]) -> None:
    """Run a stack in this process until SIGTERM or SIGINT. `on_ready` is called with its environment once it is up.

    Raises StackError if it cannot start, or if another stack uses the directory.
    """
    home = StateDirectory(folder)
    lock = home.lock()
    if lock is None:
        raise StackError(f"a stack is already running in {folder}, as process {home.pid()}")
    with lock:
        stack = Stack(home, ports)
        stack.start()
        try:
            on_ready(stack.environment)
            stack.supervise()
        finally:
            stack.stop()
