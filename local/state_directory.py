"""Where an embedded stack keeps its things: one folder, with a lock that one stack at a time can hold."""

import fcntl
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class StateDirectory:
    """The folder of one stack, and the names of what is in it."""

    folder: Path

    @property
    def environment_file(self) -> Path:
        """What `ratesflow env` prints, as JSON; there while the stack is up, and only then."""
        return self.folder / "environment.json"

    @property
    def pid_file(self) -> Path:
        """The number of the supervising process, in the file that the stack locks."""
        return self.folder / "stack.pid"

    @property
    def logs(self) -> Path:
        """The folder of what the processes of the stack print."""
        return self.folder / "logs"

    @property
    def database(self) -> Path:
        """The folder of PostgreSQL's data."""
        return self.folder / "postgres"

    @property
    def aws(self) -> Path:
        """The folder of the embedded AWS: objects, and what jobs ran."""
        return self.folder / "aws"

    def prepare(self) -> None:
        """Make the folder, if it is not there, so that other users cannot look into it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)

    def lock(self) -> IO[str] | None:
        """Return the lock file, locked until it is closed or the process ends; None if another stack holds it."""
        self.prepare()
        file = self.pid_file.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        # One that was killed has left its own, with which `up` would take this one for being up already.
        self.environment_file.unlink(missing_ok=True)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def pid(self) -> int | None:
        """Return the number of the process that holds the lock, None if the stack is not up."""
        try:
            with self.pid_file.open("r+", encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return int(file.read().strip() or 0) or None
        except (FileNotFoundError, ValueError):
            return None
        return None

    def environment(self) -> dict[str, str] | None:
        """Return the environment of the running stack, None if it is not up."""
        if self.pid() is None:
            return None
        try:
            found: dict[str, str] = json.loads(self.environment_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def write_environment(self, environment: dict[str, str]) -> None:
        """Say that the stack is up, all at once. The file holds passwords: only its owner may read it."""
        write_private(self.environment_file, json.dumps(environment, indent=2) + "\n")

    def wait_for(self, what: str) -> None:
        """Note what the start of the stack waits for, for whoever waits for the stack; nothing when it is up."""
        if what:
            write_private(self.folder / "starting", what)
        else:
            (self.folder / "starting").unlink(missing_ok=True)

    def waiting_for(self) -> str:
        """Return what the start of the stack waits for."""
        try:
            return (self.folder / "starting").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def password(self, user: str) -> str:
        """Return the password of a database user, made at the first time."""
        file = self.folder / "passwords.json"
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if user not in known:
            known[user] = secrets.token_urlsafe(24)
            write_private(file, json.dumps(known, indent=2) + "\n")
        return known[user]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; a reader sees the old one or the new one, never a piece."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
