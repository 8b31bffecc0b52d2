"""Stops an execution, has gc discard its batch, and says what the ledger says: a stop may come too late."""

from collections.abc import Callable
from dataclasses import dataclass

from ratesflow.workflow.client.environment import Environment
from ratesflow.workflow.client.executions import OPEN, TERMINAL, get_execution, stop_execution
from ratesflow.workflow.client.run_task import run_task


@dataclass(frozen=True)
class Stopped:
    """How a batch ended whose execution was stopped: its outcome by the ledger, and that in words."""

    batch_id: str
    outcome: str
    words: str


def stop(environment: Environment, name: str, progress: Callable[[str], None] | None = None) -> Stopped:
    """Stop an execution, unless it has ended, and return how its batch ended.

    `progress` is told the status of gc's job. Raises ExecutionMissingError, and TaskFailedError when gc fails.
    """
    found = get_execution(environment, name)
    before = found.outcome
    if found.status not in TERMINAL:
        stop_execution(environment, found.arn)
    if before in ("running", OPEN):
        run_task(environment, "gc", {"batch": found.name}, progress=progress)
    outcome = get_execution(environment, found.name).outcome
    return Stopped(found.name, outcome, _words(found.name, before, outcome))


def _words(name: str, before: str, outcome: str) -> str:
    if outcome == "committed":
        return f"too late: {name} is committed; take it out with `ratesflow undo {name}`"
    if outcome == OPEN:
        return f"{name} is stopped, but the ledger does not know it as a batch: see `ratesflow show {name}`"
    if outcome == "failed" and before in ("running", OPEN):
        return f"{name} is stopped; nothing of it is visible"
    ended = "has failed" if outcome == "failed" else f"is {outcome}"
    return f"too late: {name} {ended} already; nothing of it is visible"
