"""Makes a batch file to try the service with."""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from ratesflow.workflow.client.sample_batch import sample_lines

CHUNK = 10_000


@click.command()
@click.option("-n", "--rows", type=click.IntRange(min=1), required=True, help="How many prices.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write (.gz compresses).")
@click.option("--invalid", type=click.IntRange(min=0), default=0, help="How many rows are to be wrong.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes another batch.")
def sample(rows: int, output: Path | None, invalid: int, seed: int) -> None:
    """Make a CSV batch between the built-in ports; the same arguments always make the same bytes.

    \b
    Example:
      ratesflow sample -n 50000 -o prices.csv

    Exit codes: 0 made, 2 wrong usage.
    """
    from ratesflow.database import reference

    if invalid > rows:
        raise click.UsageError(f"--invalid {invalid} is more than the {rows} rows that there are to be")
    lines = sample_lines(sorted(reference.builtin().ports), rows, seed, invalid)
    if output is None:
        _write(sys.stdout.buffer, lines)
        return
    with output.open("wb") as file:
        if output.suffix == ".gz":
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                _write(packed, lines)
        else:
            _write(file, lines)
    click.echo(f"{output}: {rows:,} rows, {output.stat().st_size / 2**20:.1f} MB, seed {seed}", err=True)


def _write(file: "IO[bytes] | gzip.GzipFile", lines: Iterator[str]) -> None:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == CHUNK:
            file.write(("\n".join(chunk) + "\n").encode("ascii"))
            chunk.clear()
    file.write("".join(f"{line}\n" for line in chunk).encode("ascii"))


COMMANDS = (sample,)
