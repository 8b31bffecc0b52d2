"""The files that a command is given: regular files are read in place, pipes and standard input from a copy."""

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
class InputFile:
    """A file: its label in messages, the path of its bytes, and its name. A pipe and standard input have no name."""

    label: str
    path: Path
    name: str | None


@contextmanager
def open_files(files: Sequence[Path]) -> Iterator[list[InputFile]]:
    """Yield the files; what cannot be read twice is copied to a temporary folder until the context ends."""
    if [str(file) for file in files].count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be read only once: give - once")
    with tempfile.TemporaryDirectory(prefix="ratesflow-") as folder:
        yield [_open(file, Path(folder) / str(number)) for number, file in enumerate(files)]


def _open(file: Path, copy: Path) -> InputFile:
    if str(file) == STANDARD_INPUT:
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        return InputFile("standard input", copy, None)
    if stat.S_ISREG(file.stat().st_mode):
        named = file.parts[:2] not in (("/", "dev"), ("/", "proc"))  # such as /dev/stdin, redirected from a file
        return InputFile(str(file), file, file.name if named else None)
    with file.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    return InputFile(str(file), copy, None)


def inbox_keys(inbox: str, files: Sequence[InputFile], prefix: str = "", name: str | None = None) -> list[str]:
    """Return the key of each file in the inbox: the prefix, then `name` or else the file's own name.

    Raises click.UsageError when a file has no name, a name is not a valid key, or two files have the same key.
    """
    if name is not None and len(files) != 1:
        raise click.UsageError("--name is for one file: give --prefix, which applies to all of them")
    keys: dict[str, str] = {}
    for file in files:
        own = file.name if name is None else name
        if own is None:
            raise click.UsageError(f"{file.label} has no name: give one with --name, such as prices.csv")
        parts = [part for part in (prefix.removeprefix(inbox).strip("/"), own.removeprefix(inbox)) if part]
        key = inbox + "/".join(parts)
        if own.endswith("/") or not own or len(key.encode()) > 1024:
            raise click.UsageError(f"{key} is not a valid key: give another --name, of at most 1,024 bytes")
        if key in keys:
            raise click.UsageError(
                f"{keys[key]} and {file.label} would both be {key}: ingest them one by one, with --prefix or --name"
            )
        keys[key] = file.label
    return list(keys)
