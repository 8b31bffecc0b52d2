"""Stand-ins for what cannot run in a test: Terraform, a container tool, git, curl. Each notes how it was called.

They lie as commands in a folder that goes before all others on PATH. `STAND_INS_FOLDER` names the folder of what
they note (`calls.log`) and are told (`tell`), in which each file is one thing that goes otherwise.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = "STAND_INS_FOLDER"
COMMANDS = ("terraform", "podman", "curl", "git", "jq")


def install(folder: Path) -> Path:
    """Make the commands below a folder, and return where they are."""
    place = folder / "bin"
    place.mkdir(parents=True)
    for name in COMMANDS:
        command = place / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.rehearsal.stand_ins.{name} "$@"\n')
        command.chmod(0o755)
    return place


def note(*words: str) -> None:
    """Note a call."""
    with (folder() / "calls.log").open("a", encoding="utf-8") as file:
        file.write(" ".join([Path(sys.argv[0]).stem, *words]) + "\n")


def told(name: str) -> str | None:
    """Return what one of these was told, if it was."""
    file = folder() / name
    return file.read_text(encoding="utf-8") if file.exists() else None


def folder() -> Path:
    """Return the folder of what stand-ins note and are told."""
    return Path(os.environ[FOLDER])


def client(service: str) -> Any:
    """Return a client of the embedded AWS."""
    import boto3

    session: Any = boto3.Session()
    return session.client(service)


def read(file: Path) -> Any:
    """Return a document, or nothing."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
