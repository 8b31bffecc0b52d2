"""The directory of an embedded stack: the paths in it, and the lock that lets one stack at a time use it."""

import fcntl
import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOCK_SECONDS = 1.0  # `pid` holds the lock for some microseconds


@dataclass(frozen=True)
class StateDirectory:
    """The directory of one stack and the paths in it."""

    folder: Path

    @property
    def environment_file(self) -> Path:
        """The output of `ratesflow env`, as JSON; it exists only while the stack is up."""
        return self.folder / "environment.json"

    @property
    def pid_file(self) -> Path:
        """The process id of the supervisor, in the file that the stack locks."""
        return self.folder / "stack.pid"

    @property
    def logs(self) -> Path:
        """The directory of the processes' logs."""
        return self.folder / "logs"

    @property
    def database(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "postgres"

    @property
    def aws(self) -> Path:
        """The directory of the embedded AWS: objects, and records of jobs and executions."""
        return self.folder / "aws"

    def prepare(self) -> None:
        """Create the directory and its folder of logs if they do not exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)

    def lock(self) -> IO[str] | None:
        """Return the lock file, locked until it is closed or the process ends; None if another stack holds it."""
        self.prepare()
        file = self.pid_file.open("a+", encoding="ascii")
        deadline = time.monotonic() + LOCK_SECONDS
        while not _locked(file):
            if time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.01)
        # A killed stack leaves its file, with which `up` would take this one for up already.
        self.environment_file.unlink(missing_ok=True)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def pid(self) -> int | None:
        """Return the id of the process that holds the lock; None if the stack is not up."""
        try:
            with self.pid_file.open("r+", encoding="ascii") as file:
                if not _locked(file):
                    return int(file.read().strip() or 0) or None
        except (FileNotFoundError, ValueError):
            return None
        return None

    def environment(self) -> dict[str, str] | None:
        """Return the environment of the running stack; None if it is not up."""
        if self.pid() is None:
            return None
        try:
            found: dict[str, str] = json.loads(self.environment_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def write_environment(self, environment: dict[str, str]) -> None:
        """Mark the stack as up, atomically. The file contains passwords: only its owner may read it."""
        write_private(self.environment_file, json.dumps(environment, indent=2) + "\n")

    def set_starting(self, component: str) -> None:
        """Record the component that is starting, which `up` prints; an empty string when the stack is up."""
        if component:
            write_private(self.folder / "starting", component)
        else:
            (self.folder / "starting").unlink(missing_ok=True)

    def starting(self) -> str:
        """Return the component that is starting."""
        try:
            return (self.folder / "starting").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def password(self, user: str) -> str:
        """Return the password of a database user; the first call generates it."""
        file = self.folder / "passwords.json"
        passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if user not in passwords:
            passwords[user] = secrets.token_urlsafe(24)
            write_private(file, json.dumps(passwords, indent=2) + "\n")
        return passwords[user]


def _locked(file: IO[str]) -> bool:
    """Lock a file if nobody else has locked it; return whether it is locked now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
