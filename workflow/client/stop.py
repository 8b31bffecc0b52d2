"""Stops an execution, has gc discard its batch, and reads the outcome from the ledger: a stop may be too late."""

from collections.abc import Callable
from dataclasses import dataclass

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import OPEN, TERMINAL, get_execution, stop_execution
from ratesflow.workflow.client.run_task import run_task


@dataclass(frozen=True)
class Stopped:
    """The outcome of a batch whose execution was stopped, by the ledger, and a message about it."""

    batch_id: str
    outcome: str
    message: str


def stop(environment: Environment, name: str, progress: Callable[[str], None] | None = None) -> Stopped:
    """Stop an execution, unless it has ended, and return the outcome of its batch.

    `progress` gets the status of gc's job. Raises ExecutionMissingError, and TaskFailedError when gc fails.
    """
    found = get_execution(environment, name)
    before = found.outcome
    if found.status not in TERMINAL:
        stop_execution(environment, found.arn)
    if before in ("running", OPEN):
        run_task(environment, "gc", {"batch": found.name}, progress=progress)
    outcome = get_execution(environment, found.name).outcome
    return Stopped(found.name, outcome, _message(found.name, before, outcome))


def _message(name: str, before: str, outcome: str) -> str:
    if outcome == "committed":
        return f"too late: {name} is committed; roll it back with `ratesflow undo {name}`"
    if outcome == OPEN:
        return f"{name} is stopped, but the ledger has no such batch: see `ratesflow show {name}`"
    if outcome == "failed" and before in ("running", OPEN):
        return f"{name} is stopped; none of its rows are visible"
    state = "has failed" if outcome == "failed" else f"is {outcome}"
    return f"too late: {name} {state} already; none of its rows are visible"
