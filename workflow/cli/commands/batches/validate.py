"""`ratesflow validate`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from ratesflow.workflow.cli.batch_exit_codes import worst
from ratesflow.workflow.cli.context import COMMITTED, REJECTED, CliContext
from ratesflow.workflow.cli.files import FILES, InputFile, open_files
from ratesflow.workflow.cli.output import echo, json_option, print_json
from ratesflow.workflow.cli.report_output import print_errors
from ratesflow.workflow.client.errors import EnvironmentMissingError


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES)
@click.option(
    "--reference",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with ports.csv and regions.csv to check against.",
)
@json_option
@click.pass_obj
def validate(context: CliContext, files: tuple[Path, ...], reference: Path | None, as_json: bool) -> None:
    """Check batch files on this machine, without an upload.

    The checks are those of the workflow. A file may be a pipe, or - for standard input. The ports are those of
    --reference, else of the running embedded stack or of DATABASE_URL, else the built-in ones. With --json one report
    is printed for each file.

    \b
    Example:
      ratesflow validate prices.csv

    Exit codes: 0 it would be accepted, 3 it would be rejected, 64 it cannot be checked. With several files, the
    code is the first of 64, 3 and 0 that occurs.
    """
    with open_files(files) as opened:
        codes = [_validate(context, file, reference, as_json, many=len(opened) > 1) for file in opened]
    sys.exit(worst(codes))


def _validate(context: CliContext, file: InputFile, reference: Path | None, as_json: bool, many: bool) -> int:
    """Check one file, print the report, and return the exit code."""
    command = [sys.executable, "-P", "-m", "ratesflow.loader.check_file", str(file.path)]
    command += ["--reference", str(reference)] if reference else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=_with_database(context), check=False)
    if done.returncode not in (COMMITTED, REJECTED):
        click.echo(done.stdout, err=True, nl=False)
        return done.returncode
    report = json.loads(done.stdout[max(0, done.stdout.find("{\n")) :])
    if as_json:
        print_json(report)
    elif report["accepted"]:
        echo(f"accepted, {report['rows']:,} rows: {file.label}")
    else:
        if many:
            echo(f"rejected: {file.label}")
        print_errors(report, report.get("full_report"))
    return done.returncode


def _with_database(context: CliContext) -> dict[str, str]:
    """Return the variables of this process, with the database of the running embedded stack."""
    try:
        address = context.environment().values.get("DATABASE_URL")
    except EnvironmentMissingError:
        address = None
    return os.environ | ({"DATABASE_URL": address} if address else {})
