"""Runs the steps one after the other, notes how each ended, and cleans up however it ends."""

import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tests.rehearsal import report
from tests.rehearsal.progress import FAILED, HELD, SKIPPED, Progress, StepResult
from tests.rehearsal.runner import CommandError
from tests.rehearsal.signals import InterruptedRehearsal, LeftRehearsal, expect_the_last
from tests.rehearsal.stage import DoesNotHoldError, SkippedError, Stage
from tests.rehearsal.stages.steps import Step
from tests.rehearsal.stages.taking_down import left, take_down

OK, BROKEN, INTERRUPTED = 0, 1, 130


def rehearse(stage: Stage, steps: list[Step], file: Path, *, keep: bool) -> int:
    """Run the steps and write the report; return the exit code.

    With `keep` the environment stays up, whatever happens; otherwise it is taken down when an essential step does
    not hold, when the rehearsal is interrupted, and at the end.
    """
    code, end, lost = INTERRUPTED, "interrupted", []
    try:
        try:
            code, end = _steps(stage, steps)
        except InterruptedRehearsal as error:
            code, end = INTERRUPTED, f"interrupted by {error}"
            stage.say(f"{end}.")
        expect_the_last()
        if not keep and (code != OK or any(step.name == "destroy" for step in steps)):
            lost = take_down(stage)
    except (LeftRehearsal, InterruptedRehearsal) as error:
        code, end = INTERRUPTED, f"{end}; left before the end of the clean-up by {error}"
    try:
        report.write(stage, file, end, lost)
    except OSError as error:
        stage.say(f"The report could not be written: {error}")
    _tell(stage, file, end)
    return code if not lost else max(code, BROKEN)


def _steps(stage: Stage, steps: list[Step]) -> tuple[int, str]:
    for step in steps:
        result = _one(stage, step)
        stage.progress.add(result)
        stage.say(f"  {result.outcome}, {result.seconds:.1f} s{': ' if result.words else ''}{result.words}")
        if result.outcome == FAILED and step.essential:
            return BROKEN, f"ended at the step {step.name}, which did not hold"
    return _ended(stage.progress)


def _ended(progress: Progress) -> tuple[int, str]:
    """Return the exit code and the end in words, of all steps so far: those of a former run too."""
    if progress.failed:
        return BROKEN, f"did not hold: {', '.join(progress.failed)}"
    skipped = [each.name for each in progress.results if each.outcome == SKIPPED]
    return OK, f"all held, but skipped {', '.join(skipped)}" if skipped else "all held"


def _one(stage: Stage, step: Step) -> StepResult:
    """Run one step. At an interruption its result says so, and the interruption goes on."""
    stage.say(f"{step.name}: {step.does}")
    begun = time.monotonic()
    try:
        details = step.run(stage)
    except SkippedError as error:
        return StepResult(step.name, SKIPPED, time.monotonic() - begun, str(error))
    except (DoesNotHoldError, CommandError, BotoCoreError, ClientError, OSError) as error:
        return StepResult(step.name, FAILED, time.monotonic() - begun, str(error))
    except Exception as error:  # noqa: BLE001 whatever it is, what was made must be taken away
        return StepResult(step.name, FAILED, time.monotonic() - begun, f"{type(error).__name__}: {error}")
    except (InterruptedRehearsal, LeftRehearsal) as error:
        stage.progress.add(StepResult(step.name, FAILED, time.monotonic() - begun, f"interrupted by {error}"))
        raise
    return StepResult(step.name, HELD, time.monotonic() - begun, details=details)


def clean_up(stage: Stage) -> int:
    """Take away what a former rehearsal left; return the exit code."""
    expect_the_last()
    try:
        lost = take_down(stage)
    except LeftRehearsal:
        lost = ["left before the end"]
    tell_what_is_left(stage)
    return BROKEN if lost else OK


def _tell(stage: Stage, file: Path, end: str) -> None:
    stage.say(f"The rehearsal: {end}. Report: {file}")
    tell_what_is_left(stage)


def tell_what_is_left(stage: Stage) -> None:
    """Say what is still there, with the commands that take it away."""
    there = left(stage)
    if not there:
        stage.say("Nothing is left of it, but the state bucket and the registry, which are the account's.")
        return
    stage.say(f"Still there, and paid for: {', '.join(act.name for act, _ in there)}. To take it away:")
    stage.say(f"  python -m tests.rehearsal --workspace {stage.options.workspace} --clean-up")
    stage.say("or by hand:")
    for command in (command for _, commands in there for command in commands):
        stage.say(f"  {command}")
