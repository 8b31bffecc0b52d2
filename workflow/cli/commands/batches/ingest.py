"""`ratesflow ingest`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ratesflow.workflow.cli.batch_exit_codes import EXIT_CODES, worst
from ratesflow.workflow.cli.context import COMMITTED, FAILED, INTERRUPTED, CliContext
from ratesflow.workflow.cli.files import FILES, InputFile, inbox_keys, open_files
from ratesflow.workflow.cli.follow import follow
from ratesflow.workflow.cli.output import echo, json_option, print_json
from ratesflow.workflow.cli.progress import Progress
from ratesflow.workflow.cli.report_output import print_errors
from ratesflow.workflow.cli.uploader import Upload, Uploader
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import get_execution, get_steps, job_log
from ratesflow.workflow.client.history import format_seconds
from ratesflow.workflow.client.next_steps import next_step


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES)
@click.option("--prefix", default="", metavar="FOLDER/", help="Upload the files to this folder of the inbox.")
@click.option("--name", "--key", "key", metavar="NAME", help="Name in the inbox, for one file (default: its own name).")
@click.option("--no-wait", is_flag=True, help="Return when the files are uploaded.")
@click.option("--force", is_flag=True, help="Load the file even if the same bytes are already committed.")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait for each file (default: no limit).")
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
    """Upload batch files and wait for their outcomes.

    The upload itself starts the execution; every step is shown. Ctrl-C stops watching, not the batch. Several files
    are processed in parallel. A pipe, or - for standard input, needs --name. Another file of the same name is another
    batch: it adds to the averages and replaces nothing.

    With --json one object is printed for each file, in the order of the files: batch_id, outcome, rows,
    rejected_rows, report, execution_arn, seconds (in total, with the upload), steps (seconds of work of each).

    \b
    Example:
      ratesflow ingest prices-2021-01.csv

    Exit codes: 0 committed, 1 failed, 2 two files with the same name, or one without a name, 3 rejected, 4 duplicate,
    69 no stack, 75 still running after --timeout, 130 Ctrl-C. With several files, the code is the first of
    1, 3, 75, 4 and 0 that occurs.
    """
    environment = context.environment()
    with open_files(files) as opened:
        uploads = _uploads(environment, opened, prefix, key)
        _ingest(environment, uploads, wait=not no_wait, force=force, timeout=timeout, as_json=as_json)


def _uploads(environment: Environment, files: Sequence[InputFile], prefix: str, name: str | None) -> list[Upload]:
    from ratesflow.workflow.trigger import IGNORED_FILES, is_ignored

    keys = inbox_keys(environment.inbox_prefix, files, prefix, name)
    inbox = environment.inbox_prefix
    for file, key in zip(files, keys, strict=True):
        if is_ignored(key, environment.values.get(IGNORED_FILES, "")):
            raise click.UsageError(f"{file.label} would be ignored because of its name: give another name with --name")
    return [
        Upload(file.path, file.path.stat().st_size, key, file.label, key.removeprefix(inbox))
        for file, key in zip(files, keys, strict=True)
    ]


def _ingest(
    environment: Environment, uploads: list[Upload], *, wait: bool, force: bool, timeout: float | None, as_json: bool
) -> None:
    """Upload the files, follow them to their outcomes, print these, and exit."""
    uploader = Uploader(environment, uploads, force)
    codes = []
    with Progress(many=len(uploads) > 1) as progress:
        uploader.start()
        try:
            for result in follow(environment, uploads, progress, wait=wait, timeout=timeout):
                codes.append(EXIT_CODES.get(result["outcome"], FAILED) if wait else COMMITTED)
                with progress.paused():
                    if as_json:
                        print_json(result)
                    else:
                        _print_outcome(environment, result, progress)
        except BaseException as error:
            uploader.stop()
            _print_unfinished(uploads[len(codes) :], progress)
            if isinstance(error, KeyboardInterrupt):
                sys.exit(INTERRUPTED)
            raise
    sys.exit(worst(codes))


def _print_unfinished(uploads: Sequence[Upload], progress: Progress) -> None:
    """Print how to watch the uploaded files, and which ones were not uploaded."""
    uploaded = [upload for upload in uploads if upload.execution]
    if uploaded:
        progress.print("Stopped watching; uploaded files are still processing. Watch them with:")
    for upload in uploaded:
        progress.print(f"  ratesflow show --follow {upload.execution}")
    for upload in uploads:
        if not upload.execution:
            progress.print(f"Not uploaded: {upload.label}")


def _print_outcome(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    """Print the outcome of a batch: of a rejected one its first errors, of a failed one the end of the log."""
    name, outcome = result["batch_id"], result["outcome"]
    rows = "" if result["rows"] is None else f", {result['rows']:,} rows"
    if outcome in ("running", "not started"):
        echo(f"{outcome}: {name}")
        echo(f"  {result['message'] or f'Watch it with: ratesflow show --follow {name}'}")
        return
    echo(f"{outcome}{rows} in {format_seconds(result['seconds'])}: {name}")
    if outcome == "rejected" and result["report"]:
        from ratesflow.workflow.client.reports import read_report

        print_errors(read_report(environment, result["report"]), result["report"], "; nothing was loaded")
    elif outcome not in EXIT_CODES:
        _print_failure(environment, result, progress)
    elif result["message"]:
        echo(f"  {result['message']}")


def _print_failure(environment: Environment, result: Mapping[str, Any], progress: Progress) -> None:
    echo(f"  {result['message']}")
    failed = [step for step in get_steps(environment, result["batch_id"]) if step.error and step.job_id]
    log = job_log(environment, failed[0], 5) if failed else None
    if log:
        progress.print(f"  the log of {failed[0].name} ends with:")
        progress.print("\n".join(f"    {line}" for line in log.lines))
    echo(f"  {next_step(get_execution(environment, result['batch_id']), environment)}")
