"""The files that a command is given: regular ones where they lie; pipes and standard input in a temporary copy."""

import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

STANDARD_INPUT = "-"
FILES = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
"""The type of an argument that names a file, a pipe, or `-` for standard input."""


@dataclass(frozen=True)
class GivenFile:
    """A file as a person named it, where its bytes lie, and its own name: a pipe and standard input have none."""

    shown: str
    path: Path
    name: str | None


@contextmanager
def given_files(files: Sequence[Path]) -> Iterator[list[GivenFile]]:
    """Give the files; what cannot be read twice, of any size, lies in a temporary folder until the end."""
    if [str(file) for file in files].count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be read once: give - once")
    with tempfile.TemporaryDirectory(prefix="ratesflow-") as folder:
        yield [_given(file, Path(folder) / str(number)) for number, file in enumerate(files)]


def _given(file: Path, copy: Path) -> GivenFile:
    if str(file) == STANDARD_INPUT:
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        return GivenFile("standard input", copy, None)
    if stat.S_ISREG(file.stat().st_mode):
        named = file.parts[:2] not in (("/", "dev"), ("/", "proc"))  # such as /dev/stdin, redirected from a file
        return GivenFile(str(file), file, file.name if named else None)
    with file.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    return GivenFile(str(file), copy, None)


def inbox_keys(inbox: str, files: Sequence[GivenFile], prefix: str = "", name: str | None = None) -> list[str]:
    """Return the key of each file in the inbox: under a prefix, by its own name or the one that is given instead.

    Raises click.UsageError when a file has no name, a name is no key, or two files would have the same key.
    """
    if name is not None and len(files) != 1:
        raise click.UsageError("--name is for one file: give --prefix, which goes before the names of all")
    keys: dict[str, str] = {}
    for file in files:
        own = file.name if name is None else name
        if own is None:
            raise click.UsageError(f"{file.shown} has no name of its own: give one with --name, such as prices.csv")
        parts = [part for part in (prefix.removeprefix(inbox).strip("/"), own.removeprefix(inbox)) if part]
        key = inbox + "/".join(parts)
        if own.endswith("/") or not own or len(key.encode()) > 1024:
            raise click.UsageError(f"{key} is no key of an object: give another --name, of 1,024 bytes at most")
        if key in keys:
            raise click.UsageError(
                f"{keys[key]} and {file.shown} would both be {key}: ingest them one by one, with --prefix or --name"
            )
        keys[key] = file.shown
    return list(keys)
