"""Batches into the database: ingest, and validate beforehand."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli.context import (
    COMMITTED,
    DUPLICATE,
    FAILED,
    GOES_ON,
    INTERRUPTED,
    REJECTED,
    CliContext,
    echo,
    json_option,
    print_json,
    print_table,
)
from ratesflow.workflow.cli.files import FILES, GivenFile, given_files, inbox_keys
from ratesflow.workflow.cli.follow import follow
from ratesflow.workflow.cli.progress import Progress
from ratesflow.workflow.cli.uploader import Upload, Uploader
from ratesflow.workflow.client.environment import Environment, EnvironmentMissingError
from ratesflow.workflow.client.executions import get_execution, get_steps, job_log
from ratesflow.workflow.client.history import seconds_in_words
from ratesflow.workflow.client.next_steps import next_step
from ratesflow.workflow.client.reports import extent_of_list, unknown_ports

EXIT_CODES = {"committed": COMMITTED, "rejected": REJECTED, "duplicate": DUPLICATE, "running": GOES_ON}
WORST_FIRST = (FAILED, REJECTED, GOES_ON, DUPLICATE, COMMITTED)
ERRORS_SHOWN = 10


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES)
@click.option("--prefix", default="", metavar="FOLDER/", help="A folder of the inbox to send the files to.")
@click.option("--name", "--key", "key", metavar="NAME", help="The one file's name in the inbox, instead of its own.")
@click.option("--no-wait", is_flag=True, help="Return when the files are uploaded.")
@click.option("--force", is_flag=True, help="Load the bytes even if they are committed already.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for each file (default: for ever).")
@json_option
@click.pass_obj
def ingest(
    context: CliContext,
    files: tuple[Path, ...],
    prefix: str,
    key: str | None,
    no_wait: bool,
    force: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Upload batch files and wait until each is committed, refused or failed; show every step.

    The upload itself starts the execution. Ctrl-C stops watching, not the batch. Many files go side by side. A pipe,
    or - for standard input, needs a --name. Another file under the same name is another batch: it adds to the
    averages and replaces nothing.

    With --json one object a file is printed, in the order of the files: batch_id, outcome, rows, rejected_rows,
    report, execution_arn, seconds (in all, the upload included), steps (those at work).

    \b
    Example:
      ratesflow ingest prices-2021-01.csv

    Exit codes: 0 committed, 1 failed, 2 two files of one name, or none, 3 rejected, 4 duplicate, 69 no stack, 75 not
    over by the --timeout: it goes on, 130 Ctrl-C; of several files the worst, in the order 1, 3, 75, 4, 0.
    """
    environment = context.environment()
    with given_files(files) as given:
        parcels = _parcels(environment, given, prefix, key)
        _ingest(environment, parcels, wait=not no_wait, force=force, timeout=timeout, as_json=as_json)


def _parcels(environment: Environment, given: Sequence[GivenFile], prefix: str, name: str | None) -> list[Upload]:
    from ratesflow.workflow.trigger import SIDE_FILES, is_side_file

    keys = inbox_keys(environment.inbox_prefix, given, prefix, name)
    inbox = environment.inbox_prefix
    for file, one in zip(given, keys, strict=True):
        if is_side_file(one, environment.values.get(SIDE_FILES, "")):
            raise click.UsageError(f"{file.shown} would be passed over, as a side file: give another name with --name")
    return [
        Upload(file.path, file.path.stat().st_size, key, file.shown, key.removeprefix(inbox))
        for file, key in zip(given, keys, strict=True)
    ]


def _ingest(
    environment: Environment, parcels: list[Upload], *, wait: bool, force: bool, timeout: float | None, as_json: bool
) -> None:
    """Send the parcels, follow them to their ends, print these, and exit."""
    sender = Uploader(environment, parcels, force)
    codes = []
    with Progress(many=len(parcels) > 1) as progress:
        sender.start()
        try:
            for result in follow(environment, parcels, progress, wait=wait, timeout=timeout):
                codes.append(EXIT_CODES.get(result["outcome"], FAILED) if wait else COMMITTED)
                with progress.resting():
                    if as_json:
                        print_json(result)
                    else:
                        _tell(environment, result, progress)
        except BaseException as error:
            sender.stop()
            _tell_what_goes_on(parcels[len(codes) :], progress)
            if isinstance(error, KeyboardInterrupt):
                sys.exit(INTERRUPTED)
            raise
    sys.exit(min(codes, key=WORST_FIRST.index))


def _tell_what_goes_on(parcels: Sequence[Upload], progress: Progress) -> None:
    """Say how to watch what is uploaded, and what is not."""
    sent = [parcel for parcel in parcels if parcel.execution]
    if sent:
        progress.say("Not watching any more; what is uploaded goes on. Watch it with:")
    for parcel in sent:
        progress.say(f"  ratesflow show --follow {parcel.execution}")
    for parcel in parcels:
        if not parcel.execution:
            progress.say(f"Not uploaded: {parcel.shown}")


def _tell(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    """Print how a batch ended, and for a refused one its first errors."""
    name, outcome = result["batch_id"], result["outcome"]
    rows = "" if result["rows"] is None else f", {result['rows']:,} rows"
    if outcome in ("running", "not started"):
        echo(f"{outcome}: {name}")
        echo(f"  {result['message'] or f'Watch it with: ratesflow show --follow {name}'}")
        return
    echo(f"{outcome}{rows} in {seconds_in_words(result['seconds'])}: {name}")
    if outcome == "rejected" and result["report"]:
        _tell_errors(_read_report(environment, result["report"]), result["report"])
    elif outcome not in EXIT_CODES:
        _tell_failure(environment, result, progress)
    elif result["message"]:
        echo(f"  {result['message']}")


def _read_report(environment: Environment, address: str) -> dict[str, Any]:
    from ratesflow.workflow.client.start import split_address

    bucket, key = split_address(address)
    body = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    report: dict[str, Any] = json.loads(body)
    return report


def _tell_errors(report: Mapping[str, Any], address: str | None) -> None:
    errors = report["errors"][:ERRORS_SHOWN]
    refused = (
        f"{report['rejected_rows']:,} of {report['rows']:,} rows are" if report["rejected_rows"] else "The file is"
    )
    echo(f"{refused} refused; nothing was loaded.")
    if errors:
        columns = ("line", "column", "value", "message")
        print_table(columns, [[error[name] for name in columns] for error in errors], right=("line",))
    more = sum(report["reasons"].values()) - len(errors)
    if more > 0:
        echo(f"… and {more:,} more")
    if ports := unknown_ports(report):
        echo(f"unknown ports: {ports}")
    for label, place in (("report", address), (extent_of_list(report), report.get("full_report"))):
        if place:
            echo(f"{label}: {place}")


def _tell_failure(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    echo(f"  {result['message']}")
    failed = [step for step in get_steps(environment, result["batch_id"]) if step.error and step.job_id]
    log = job_log(environment, failed[0], 5) if failed else None
    if log:
        progress.say(f"  the log of {failed[0].name} ends with:")
        progress.say("\n".join(f"    {line}" for line in log.lines))
    echo(f"  {next_step(get_execution(environment, result['batch_id']), environment)}")


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
    """Check batch files here, as the workflow would, without uploading anything.

    A file may be a pipe, or - for standard input. The ports are those of --reference, else of the embedded stack
    that is up, else the built-in ones. With --json one report a file is printed.

    \b
    Example:
      ratesflow validate prices.csv

    Exit codes: 0 it would be accepted, 3 it would be rejected, 64 it cannot be checked; of several files the worst,
    in the order 64, 3, 0.
    """
    with given_files(files) as given:
        codes = [_validate(context, file, reference, as_json, many=len(given) > 1) for file in given]
    sys.exit(min(codes, key=lambda code: WORST_FIRST.index(code) if code in WORST_FIRST else -1))


def _validate(context: CliContext, file: GivenFile, reference: Path | None, as_json: bool, many: bool) -> int:
    """Check one file, print what was found, and return the exit code."""
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
        echo(f"accepted, {report['rows']:,} rows: {file.shown}")
    else:
        if many:
            echo(f"rejected: {file.shown}")
        _tell_errors(report, report.get("full_report"))
    return done.returncode


def _with_database(context: CliContext) -> dict[str, str]:
    """Return the variables of the process, with the database of an embedded stack that is up."""
    try:
        address = context.environment().values.get("DATABASE_URL")
    except EnvironmentMissingError:
        address = None
    return os.environ | ({"DATABASE_URL": address} if address else {})


COMMANDS = (ingest, validate)
