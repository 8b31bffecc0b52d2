"""Batches into the database: ingest, and validate beforehand."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from workflow.cli.context import (
    COMMITTED,
    DUPLICATE,
    FAILED,
    REJECTED,
    Where,
    json_option,
    print_json,
    print_table,
    seconds_text,
)
from workflow.cli.progress import Progress
from workflow.environment import Environment, EnvironmentMissingError
from workflow.executions import (
    ExecutionMissingError,
    execution_arn,
    get_steps,
    job_log,
    wait_for_end,
    wait_for_start,
)

EXIT_CODES = {"committed": COMMITTED, "rejected": REJECTED, "duplicate": DUPLICATE}
WORST_FIRST = (FAILED, REJECTED, DUPLICATE, COMMITTED)
START_SECONDS = 30.0
ERRORS_SHOWN = 10
INTERRUPTED = 130
NOT_STARTED = (
    f"It is uploaded, but its event has started no execution in {START_SECONDS:.0f} s. Start it by hand with "
    "`ratesflow start {}`; then see what is wrong with the trigger: its log, its queue, and `ratesflow redrive` "
    "for what it put aside."
)


@dataclass(frozen=True)
class Sent:
    """A file that lies in the inbox, and the execution that its event starts."""

    file: Path
    address: str
    execution: str
    began: datetime


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--no-wait", is_flag=True, help="Return when the files are uploaded.")
@click.option("--force", is_flag=True, help="Load the bytes even if they are committed already.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for each file (default: for ever).")
@json_option
@click.pass_obj
def ingest(
    where: Where, files: tuple[Path, ...], no_wait: bool, force: bool, timeout: float | None, as_json: bool
) -> None:
    """Upload batch files and wait until each is committed, refused or failed; show every step.

    The upload itself starts the execution. Ctrl-C stops watching, not the batch. With --json one object a
    file is printed: batch_id, outcome, rows, rejected_rows, report, execution_arn, seconds (in all), steps.

    \b
    Example:
      ratesflow ingest prices-2021-01.csv

    Exit codes: 0 committed, 1 failed, 3 rejected, 4 duplicate, 69 no stack; of several files the worst, in
    the order 1, 3, 4, 0.
    """
    environment = where.environment()
    codes = []
    with Progress() as progress:
        sent = [_send(environment, file, force, progress) for file in files]
        for one in sent:
            progress.begin(f"{one.file} → {one.address}")
            try:
                result = _pending(environment, one) if no_wait else _follow(environment, one, timeout, progress)
            except KeyboardInterrupt:
                progress.say("Not watching any more; what is uploaded goes on. Watch it with:")
                for other in sent[sent.index(one) :]:
                    progress.say(f"  ratesflow show --follow {other.execution}")
                sys.exit(INTERRUPTED)
            progress.rest()
            codes.append(COMMITTED if no_wait else EXIT_CODES.get(result["outcome"], FAILED))
            if as_json:
                print_json(result)
            else:
                _tell(environment, result, progress)
    sys.exit(min(codes, key=WORST_FIRST.index))


def _send(environment: Environment, file: Path, force: bool, progress: Progress) -> Sent:
    from workflow.trigger import Arrival
    from workflow.upload import upload

    size, gone = file.stat().st_size, 0

    def count(sent: int) -> None:
        nonlocal gone
        gone += sent
        progress.now(f"uploading {file} … {gone / max(size, 1):.0%} of {size / 2**20:.1f} MB")

    began = datetime.now(UTC)
    lies = upload(environment, file, force=force, sent=count)
    return Sent(file, f"s3://{lies['bucket']}/{lies['key']}", Arrival(**lies).execution_name, began)


def _pending(environment: Environment, sent: Sent) -> dict[str, Any]:
    return _result(sent, "running", execution_arn(environment, sent.execution), {})


def _follow(environment: Environment, sent: Sent, timeout: float | None, progress: Progress) -> dict[str, Any]:
    """Wait for the end of a batch and return what is printed of it."""
    began = time.monotonic()
    arn = execution_arn(environment, sent.execution)
    progress.now("waiting for the upload's event …")
    try:
        execution = wait_for_start(environment, sent.execution, START_SECONDS)
        left = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
        execution = wait_for_end(environment, sent.execution, progress.steps, left)
    except ExecutionMissingError:
        return _result(sent, "not started", arn, {"message": NOT_STARTED.format(sent.address)})
    except TimeoutError as error:
        return _result(sent, "running", arn, {"message": str(error)})
    result = _result(sent, execution.outcome, arn, execution.answer)
    result["message"] = execution.words or ""
    if execution.stopped is not None:
        # The clock of AWS may differ from ours; an execution's own time is the least that it can have taken.
        wall = (execution.stopped - sent.began).total_seconds()
        result["seconds"] = round(max(wall, execution.seconds or 0.0), 3)
    return result


def _result(sent: Sent, outcome: str, arn: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "file": str(sent.file),
        "batch_id": sent.execution,
        "outcome": outcome,
        "rows": answer.get("rows"),
        "rejected_rows": answer.get("rejected_rows"),
        "report": answer.get("report"),
        "execution_arn": arn,
        "seconds": None,
        "steps": answer.get("seconds", {}),
        "message": answer.get("message", ""),
    }


def _tell(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    """Print how a batch ended, and for a refused one its first errors."""
    name, outcome = result["batch_id"], result["outcome"]
    rows = "" if result["rows"] is None else f", {result['rows']:,} rows"
    if outcome in ("running", "not started"):
        click.echo(f"{outcome}: {name}")
        click.echo(f"  {result['message'] or f'Watch it with: ratesflow show --follow {name}'}")
        return
    click.echo(f"{outcome}{rows} in {seconds_text(result['seconds'])}: {name}")
    if outcome == "rejected" and result["report"]:
        _tell_errors(_read_report(environment, result["report"]), result["report"])
    elif outcome not in EXIT_CODES:
        _tell_failure(environment, result, progress)
    elif result["message"]:
        click.echo(f"  {result['message']}")


def _read_report(environment: Environment, address: str) -> dict[str, Any]:
    from workflow.starting import split_address

    bucket, key = split_address(address)
    body = environment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    report: dict[str, Any] = json.loads(body)
    return report


def _tell_errors(report: Mapping[str, Any], address: str | None) -> None:
    errors = report["errors"][:ERRORS_SHOWN]
    click.echo(f"{report['rejected_rows']:,} of {report['rows']:,} rows are refused; nothing was loaded.")
    if errors:
        columns = ("line", "column", "value", "message")
        print_table(columns, [[error[name] for name in columns] for error in errors], right=("line",))
    more = sum(report["reasons"].values()) - len(errors)
    if more > 0:
        click.echo(f"… and {more:,} more")
    for label, place in (("report", address), ("all errors", report.get("full_report"))):
        if place:
            click.echo(f"{label}: {place}")


def _tell_failure(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    click.echo(f"  {result['message']}")
    failed = [step for step in get_steps(environment, result["batch_id"]) if step.error and step.job_id]
    log = job_log(environment, failed[0], 5) if failed else None
    if log:
        progress.say(f"  the log of {failed[0].name} ends with:")
        progress.say("\n".join(f"    {line}" for line in log.lines))
    click.echo("  Nothing of it is visible, unless `ratesflow batches` says committed; ingesting it again is safe.")
    click.echo(f"  Run it again with: ratesflow redo {result['batch_id']}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--reference",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with ports.csv and regions.csv to check against.",
)
@json_option
@click.pass_obj
def validate(where: Where, file: Path, reference: Path | None, as_json: bool) -> None:
    """Check a batch file here, as the workflow would, without uploading anything.

    The ports are those of --reference, else of the embedded stack that is up, else the built-in ones.

    \b
    Example:
      ratesflow validate prices.csv

    Exit codes: 0 it would be accepted, 3 it would be rejected, 64 it cannot be checked.
    """
    command = [sys.executable, "-m", "loader", "validate", "--file", str(file)]
    command += ["--reference", str(reference)] if reference else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=_with_database(where), check=False)
    if done.returncode not in (COMMITTED, REJECTED):
        click.echo(done.stdout, err=True, nl=False)
        sys.exit(done.returncode)
    report = json.loads(done.stdout[max(0, done.stdout.find("{\n")) :])
    if as_json:
        print_json(report)
    elif report["accepted"]:
        click.echo(f"accepted, {report['rows']:,} rows: {file}")
    else:
        _tell_errors(report, report.get("full_report"))
    sys.exit(done.returncode)


def _with_database(where: Where) -> dict[str, str]:
    """Return the variables of the process, with the database of an embedded stack that is up."""
    try:
        address = where.environment().values.get("DATABASE_URL")
    except EnvironmentMissingError:
        address = None
    return os.environ | ({"DATABASE_URL": address} if address else {})


COMMANDS = (ingest, validate)
