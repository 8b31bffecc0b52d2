"""Stand-ins for tools that cannot run in a test: Terraform, a container tool, git, curl. Each records its calls.

They are commands in a folder at the start of PATH. `STAND_INS_FOLDER` names a folder with their recorded calls
(`calls.log`) and their settings: one file per setting that changes their behavior.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = "STAND_INS_FOLDER"
COMMANDS = ("terraform", "podman", "curl", "git", "jq")


def install(folder: Path) -> Path:
    """Create the commands in a folder, and return their directory."""
    directory = folder / "bin"
    directory.mkdir(parents=True)
    for name in COMMANDS:
        command = directory / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.rehearsal.stand_ins.{name} "$@"\n')
        command.chmod(0o755)
    return directory


def note(*words: str) -> None:
    """Record a call."""
    with (folder() / "calls.log").open("a", encoding="utf-8") as file:
        file.write(" ".join([Path(sys.argv[0]).stem, *words]) + "\n")


def setting(name: str) -> str | None:
    """Return a setting; None if it is not set."""
    file = folder() / name
    return file.read_text(encoding="utf-8") if file.exists() else None


def folder() -> Path:
    """Return the folder of recorded calls and settings."""
    return Path(os.environ[FOLDER])


def client(service: str) -> Any:
    """Return a client of the embedded AWS."""
    import boto3

    session: Any = boto3.Session()
    return session.client(service)


def read(file: Path) -> Any:
    """Return a JSON document; None if the file does not exist."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
