"""How commands print an execution: as JSON, as text with its steps, and as the name of one that has started."""

from collections.abc import Mapping, Sequence
from typing import Any

from ratesflow.workflow.cli.output import echo, notice, print_json
from ratesflow.workflow.cli.progress import step_line
from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import OPEN, Execution, JobLog, execution_arn
from ratesflow.workflow.client.history import Step, format_seconds, summarize
from ratesflow.workflow.client.next_steps import next_step
from ratesflow.workflow.timestamps import moment


def execution_json(execution: Execution) -> dict[str, Any]:
    """Return an execution as it is printed with --json."""
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
        "message": execution.message,
    }


def step_json(step: Step, log: JobLog | None) -> dict[str, Any]:
    """Return a step as it is printed with --json."""
    from dataclasses import asdict

    fields = asdict(step)
    del fields["input"], fields["cause"]
    return fields | {"message": step.failure, "retries": step.retries, "log": asdict(log) if log else None}


def print_execution(
    environment: Environment, found: Execution, steps: Sequence[Step], logs: Mapping[str, JobLog | None]
) -> None:
    """Print an execution, its steps, the log of the one that failed, and what to do next."""
    _print_facts(environment, found)
    echo("")
    for summary in summarize(steps):
        echo(step_line(summary))
        job_id = summary.job_id
        log = next((one for one in logs.values() if one and job_id and one.job_id.startswith(job_id)), None)
        if summary.status == "failed" and log:
            echo(f"    job {log.job_id}: {log.ended}; log stream {log.log_stream}")
            echo("\n".join(f"    | {text}" for text in log.lines))
    if found.outcome in ("failed", OPEN):
        echo(f"\n{next_step(found, environment)}")


def _print_facts(environment: Environment, found: Execution) -> None:
    from ratesflow.workflow.client.start import console_url

    echo(f"{found.name}: {found.outcome}", bold=True)
    address = f"s3://{found.input.get('bucket')}/{found.input.get('key')}"
    redo_of = str(found.input.get("redo_of") or "").rpartition(":")[2]
    rows = found.answer.get("rows")
    facts = {
        "source": f"{address} (version {found.input.get('version')})",
        "started": f"{moment(found.started)}, took {format_seconds(found.seconds) or '…'}",
        "execution": found.status.lower().replace("_", " "),
        "redo of": redo_of,
        "rows": "" if rows is None else f"{rows:,}",
        "report": found.answer.get("report"),
        "message": found.message,
        "console": console_url(environment, found.name),
    }
    for label, value in facts.items():
        if value:
            echo(f"  {label:<9} {value}")


def print_started(environment: Environment, name: str, as_json: bool) -> None:
    """Print the name of an execution that has started, and how to watch it."""
    if as_json:
        print_json({"batch_id": name, "execution_arn": execution_arn(environment, name)})
        return
    echo(name)
    notice(f"Watch it with: ratesflow show --follow {name}")
