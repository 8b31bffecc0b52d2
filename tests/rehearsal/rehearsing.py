"""Runs the steps in order, records their results, and cleans up in any case."""

import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tests.rehearsal import report
from tests.rehearsal.progress import FAILED, PASSED, SKIPPED, Progress, StepResult
from tests.rehearsal.runner import CommandError
from tests.rehearsal.signals import AbortedRehearsal, InterruptedRehearsal, start_clean_up
from tests.rehearsal.stage import SkippedError, Stage, StepFailedError
from tests.rehearsal.stages.steps import Step
from tests.rehearsal.stages.taking_down import remaining, take_down

OK, BROKEN, INTERRUPTED = 0, 1, 130


def rehearse(stage: Stage, steps: list[Step], file: Path, *, keep: bool) -> int:
    """Run the steps and write the report; return the exit code.

    With `keep` the environment stays up in any case; otherwise it is removed when an essential step
    fails, when the rehearsal is interrupted, and at the end.
    """
    code, end, lost = INTERRUPTED, "interrupted", []
    try:
        try:
            code, end = _steps(stage, steps)
        except InterruptedRehearsal as error:
            code, end = INTERRUPTED, f"interrupted by {error}"
            stage.print_line(f"{end}.")
        start_clean_up()
        if not keep and (code != OK or any(step.name == "destroy" for step in steps)):
            lost = take_down(stage)
    except (AbortedRehearsal, InterruptedRehearsal) as error:
        code, end = INTERRUPTED, f"{end}; aborted during the clean-up by {error}"
    try:
        report.write(stage, file, end, lost)
    except OSError as error:
        stage.print_line(f"The report could not be written: {error}")
    _print_end(stage, file, end)
    return code if not lost else max(code, BROKEN)


def _steps(stage: Stage, steps: list[Step]) -> tuple[int, str]:
    for step in steps:
        result = _one(stage, step)
        stage.progress.add(result)
        stage.print_line(f"  {result.outcome}, {result.seconds:.1f} s{': ' if result.message else ''}{result.message}")
        if result.outcome == FAILED and step.essential:
            return BROKEN, f"ended at the step {step.name}, which failed"
    return _ended(stage.progress)


def _ended(progress: Progress) -> tuple[int, str]:
    """Return the exit code and a summary of all steps so far, those of an earlier run included."""
    if progress.failed:
        return BROKEN, f"failed: {', '.join(progress.failed)}"
    skipped = [each.name for each in progress.results if each.outcome == SKIPPED]
    return OK, f"all passed, but skipped {', '.join(skipped)}" if skipped else "all passed"


def _one(stage: Stage, step: Step) -> StepResult:
    """Run one step. An interruption is recorded as its result and raised again."""
    stage.print_line(f"{step.name}: {step.does}")
    begun = time.monotonic()
    try:
        details = step.run(stage)
    except SkippedError as error:
        return StepResult(step.name, SKIPPED, time.monotonic() - begun, str(error))
    except (StepFailedError, CommandError, BotoCoreError, ClientError, OSError) as error:
        return StepResult(step.name, FAILED, time.monotonic() - begun, str(error))
    except Exception as error:  # noqa: BLE001 after any error, everything must be removed
        return StepResult(step.name, FAILED, time.monotonic() - begun, f"{type(error).__name__}: {error}")
    except (InterruptedRehearsal, AbortedRehearsal) as error:
        stage.progress.add(StepResult(step.name, FAILED, time.monotonic() - begun, f"interrupted by {error}"))
        raise
    return StepResult(step.name, PASSED, time.monotonic() - begun, details=details)


def clean_up(stage: Stage) -> int:
    """Remove what an earlier rehearsal left; return the exit code."""
    start_clean_up()
    try:
        lost = take_down(stage)
    except AbortedRehearsal:
        lost = ["aborted during the clean-up"]
    print_remaining(stage)
    return BROKEN if lost else OK


def _print_end(stage: Stage, file: Path, end: str) -> None:
    stage.print_line(f"The rehearsal: {end}. Report: {file}")
    print_remaining(stage)


def print_remaining(stage: Stage) -> None:
    """Print what remains, with the commands that remove it."""
    remains = remaining(stage)
    if not remains:
        stage.print_line("Nothing remains, except the state bucket and the registry, which belong to the account.")
        return
    stage.print_line(f"Remaining, at cost: {', '.join(act.name for act, _ in remains)}. Remove with:")
    stage.print_line(f"  python -m tests.rehearsal --workspace {stage.options.workspace} --clean-up")
    stage.print_line("or manually:")
    for command in (command for _, commands in remains for command in commands):
        stage.print_line(f"  {command}")
