"""Executions: list them, look at one, start, stop, redo, and start what the trigger put aside."""

import sys
from dataclasses import asdict
from typing import Any

import click

from ratesflow.workflow.cli.autocompletion import complete_execution
from ratesflow.workflow.cli.context import (
    FAILED,
    INTERRUPTED,
    TOO_LATE,
    CliContext,
    echo,
    json_option,
    print_json,
    print_table,
    say,
)
from ratesflow.workflow.cli.progress import Progress, line_text
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import (
    OPEN,
    Execution,
    JobLog,
    execution_arn,
    get_execution,
    get_steps,
    job_log,
    wait_for_end,
)
from ratesflow.workflow.client.history import Step, seconds_in_words, summarize
from ratesflow.workflow.client.next_steps import next_step
from ratesflow.workflow.timestamps import moment


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many at most.")
@json_option
@click.pass_obj
def executions(context: CliContext, limit: int, as_json: bool) -> None:
    """List the latest executions: one a batch, newest first.

    took is the time from start to end, waits included. Moments are in UTC.

    \b
    Example:
      ratesflow executions --limit 5

    Exit codes: 0 listed, 69 no stack.
    """
    from ratesflow.workflow.client.executions import list_executions

    found = list_executions(context.environment(), limit)
    if as_json:
        print_json([_as_json(execution) for execution in found])
        return
    rows = [
        (e.started, e.outcome, e.answer.get("rows"), seconds_in_words(e.seconds), e.name, e.input.get("key"))
        for e in found
    ]
    print_table(("started", "outcome", "rows", "took", "execution", "key"), rows, right=("rows", "took"))


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@click.option("--follow", is_flag=True, help="Watch it until it ends.")
@click.option("--lines", default=10, show_default=True, help="Lines of the log of a failed job.")
@json_option
@click.pass_obj
def show(context: CliContext, execution: str, follow: bool, lines: int, as_json: bool) -> None:
    """Show one execution, by its name or ARN: its steps, what each said, why it failed, what to do.

    \b
    Example:
      ratesflow show prices-2021-01-0123456789abcdef

    Exit codes: 0 shown, 1 there is none of that name, 69 no stack, 130 Ctrl-C.
    """
    environment = context.environment()
    if follow:
        with Progress() as progress:
            row = progress.row()
            try:
                wait_for_end(environment, execution, lambda steps: row.steps(environment, steps))
            except KeyboardInterrupt:
                progress.say(f"Not watching any more; it goes on. Watch it with: ratesflow show --follow {execution}")
                sys.exit(INTERRUPTED)
    steps, found = get_steps(environment, execution), get_execution(environment, execution)
    logs = {step.name: job_log(environment, step, lines) for step in steps if step.job_id and (step.error or as_json)}
    if as_json:
        print_json(_as_json(found) | {"input": found.input, "steps": [_step_json(step, logs) for step in steps]})
        return
    _tell(environment, found, steps, logs)


def _tell(environment: Environment, found: Execution, steps: list[Step], logs: dict[str, JobLog | None]) -> None:
    from ratesflow.workflow.client.start import console_url

    echo(f"{found.name}: {found.outcome}", bold=True)
    address = f"s3://{found.input.get('bucket')}/{found.input.get('key')}"
    echo(f"  of        {address} (version {found.input.get('version')})")
    echo(f"  started   {moment(found.started)}, took {seconds_in_words(found.seconds) or '…'}")
    echo(f"  execution {found.status.lower().replace('_', ' ')}")
    if found.input.get("redo_of"):
        echo(f"  redo of   {str(found.input['redo_of']).rpartition(':')[2]}")
    for label, value in (("rows", found.answer.get("rows")), ("report", found.answer.get("report"))):
        if value is not None:
            echo(f"  {label:<9} {value:,}" if isinstance(value, int) else f"  {label:<9} {value}")
    if found.words:
        echo(f"  says      {found.words}")
    if place := console_url(environment, found.name):
        echo(f"  console   {place}")
    echo("")
    for line in summarize(steps):
        echo(line_text(line))
        log = next((one for one in logs.values() if one and line.job_id and one.job_id.startswith(line.job_id)), None)
        if line.status == "failed" and log:
            echo(f"    job {log.job_id}: {log.ended}; log stream {log.log_stream}")
            echo("\n".join(f"    | {text}" for text in log.lines))
    if found.outcome in ("failed", OPEN):
        echo(f"\n{next_step(found, environment)}")


def _as_json(execution: Execution) -> dict[str, Any]:
    return {
        "batch_id": execution.name,
        "outcome": execution.outcome,
        "status": execution.status,
        "rows": execution.answer.get("rows"),
        "rejected_rows": execution.answer.get("rejected_rows"),
        "report": execution.answer.get("report"),
        "execution_arn": execution.arn,
        "key": execution.input.get("key"),
        "started": execution.started,
        "stopped": execution.stopped,
        "seconds": execution.seconds,
        "message": execution.words,
    }


def _step_json(step: Step, logs: dict[str, JobLog | None]) -> dict[str, Any]:
    fields = asdict(step)
    log = logs.get(step.name)
    del fields["input"], fields["cause"]
    return fields | {"words": step.words, "retries": step.retries, "log": asdict(log) if log else None}


@click.command()
@click.argument("address", metavar="s3://BUCKET/KEY")
@json_option
@click.pass_obj
def start(context: CliContext, address: str, as_json: bool) -> None:
    """Start the execution of an object that lies in the bucket, as its own event would have done.

    One that runs, or whose batch is committed, is left as it is; one that ended otherwise is redone. Add
    ?versionId=… for an older version.

    \b
    Example:
      ratesflow start s3://my-bucket/incoming/prices.csv

    Exit codes: 0 started (or started before), 1 there is no such object, 69 no stack.
    """
    from ratesflow.workflow.client.start import start_object

    environment = context.environment()
    _started(environment, start_object(environment, address), as_json)


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@json_option
@click.pass_obj
def stop(context: CliContext, execution: str, as_json: bool) -> None:
    """Stop an execution and discard what it has loaded; a batch that is committed already stays committed.

    \b
    Example:
      ratesflow stop prices-2021-01-0123456789abcdef

    Exit codes: 0 nothing of the batch is visible, 1 there is none of that name, or it could not be discarded, 5 too
    late: it is committed, 69 no stack, 75 the discarding goes on.
    """
    from ratesflow.workflow.client.stop import stop as end

    with Progress() as progress:
        row = progress.row()
        done = end(context.environment(), execution, lambda status: row.show("discard", None, status.lower()))
    if as_json:
        print_json({"batch_id": done.batch_id, "outcome": done.outcome, "message": done.words})
    else:
        echo(done.words)
    sys.exit({"committed": TOO_LATE, OPEN: FAILED}.get(done.outcome, 0))


@click.command()
@click.argument("execution", shell_complete=complete_execution)
@json_option
@click.pass_obj
def redo(context: CliContext, execution: str, as_json: bool) -> None:
    """Run an execution that has ended again, under a new name, linked to the first by `redo_of`.

    \b
    Example:
      ratesflow redo prices-2021-01-0123456789abcdef

    Exit codes: 0 started, 1 there is none of that name or it still runs, 69 no stack.
    """
    from ratesflow.workflow.client.start import redo as start_again

    environment = context.environment()
    _started(environment, start_again(environment, execution), as_json)


@click.command()
@json_option
@click.pass_obj
def redrive(context: CliContext, as_json: bool) -> None:
    """Start what lies in the dead-letter queue; what still cannot be handled stays there, with its reason.

    \b
    Example:
      ratesflow redrive

    Exit codes: 0 nothing is left, 1 something is left, 69 no stack.
    """
    from ratesflow.workflow.client.start import redrive as start_dead_letters

    left = 0
    for message in start_dead_letters(context.environment()):
        left += not message.handled
        if as_json:
            print_json(asdict(message))
        else:
            echo(f"started {message.execution}" if message.execution else f"{message.message_id}: {message.reason}")
    say(f"{left} messages are left in the dead-letter queue." if left else "The dead-letter queue is empty.")
    sys.exit(FAILED if left else 0)


def _started(environment: Environment, name: str, as_json: bool) -> None:
    if as_json:
        print_json({"batch_id": name, "execution_arn": execution_arn(environment, name)})
        return
    echo(name)
    say(f"Watch it with: ratesflow show --follow {name}")


COMMANDS = (executions, show, start, stop, redo, redrive)
