"""`ratesflow sample`."""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

CHUNK = 10_000


@click.command()
@click.option("-n", "--rows", type=click.IntRange(min=1), required=True, help="Number of rows.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write (.gz compresses).")
@click.option("--invalid", type=click.IntRange(min=0), default=0, help="Number of invalid rows among them.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random numbers.")
def sample(rows: int, output: Path | None, invalid: int, seed: int) -> None:
    """Generate a CSV batch file with built-in ports.

    The same arguments always produce the same bytes.

    \b
    Example:
      ratesflow sample -n 50000 -o prices.csv

    Exit codes: 0 written, 2 wrong usage.
    """
    from ratesflow.database import reference
    from ratesflow.workflow.cli.sample_batch import sample_lines

    if invalid > rows:
        raise click.UsageError(f"--invalid {invalid} exceeds --rows {rows}")
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
