"""Failures in the steps of a rehearsal: it always cleans up and reports correctly."""

import errno
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal import rehearsing, signals
from tests.rehearsal.progress import FAILED, StepResult, begin
from tests.rehearsal.runner import Done, Runner
from tests.rehearsal.settings import ROOT
from tests.rehearsal.signals import InterruptedRehearsal
from tests.rehearsal.stage import Options, SkippedError, Stage, StepFailedError
from tests.rehearsal.stages import batches
from tests.rehearsal.stages.steps import Step
from tests.rehearsal.stages.taking_down import CleanUpStep


def make(stage: Stage) -> dict[str, Any]:
    """Create something."""
    stage.progress.record_creation("environment")
    return {}


def stumble(_: Stage) -> dict[str, Any]:
    """Raise an unexpected error."""
    raise KeyError("jobDefinitions")


def skip(_: Stage) -> dict[str, Any]:
    """Skip."""
    raise SkippedError("not here")


@pytest.fixture
def printed() -> list[str]:
    """The lines that the rehearsal prints."""
    return []


@pytest.fixture
def made(tmp_path: Path, printed: list[str]) -> Stage:
    """A stage without AWS."""
    runner = Runner(tmp_path, {"PATH": "/usr/bin:/bin"}, printed.append, ROOT)
    progress = begin(tmp_path / "progress.json", "sandbox", "eu-west-3")
    progress.values["account"] = "123456789012"
    return Stage(Options("sandbox", "eu-west-3", tmp_path), runner, progress, printed.append)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The executed clean-up steps; the first of two fails with an unexpected error."""
    found: list[str] = []

    def first(_: Stage) -> None:
        found.append("executions")
        raise KeyError("executions")

    acts = (
        CleanUpStep("executions", first, lambda _: []),
        CleanUpStep("environment", lambda _: found.append("environment"), lambda _: []),
    )
    monkeypatch.setattr("tests.rehearsal.stages.taking_down.CLEAN_UP_STEPS", acts)
    return found


def test_unexpected_error_of_a_step_cleans_up(made: Stage, taken: list[str], tmp_path: Path) -> None:
    """The step has failed, the environment is removed as far as possible, and the report has both."""
    made.progress.record_creation("executions")
    steps = [Step("make", make), Step("stumble", stumble, essential=True)]
    assert rehearsing.rehearse(made, steps, tmp_path / "report.md", keep=False) == 1
    assert taken == ["executions", "environment"]
    assert made.progress.created == ["executions"]
    text = (tmp_path / "report.md").read_text()
    assert "ended at the step stumble, which failed" in text
    assert "KeyError: 'jobDefinitions'" in text
    assert "- executions: KeyError: 'executions'" in text


def test_full_disk_does_not_prevent_the_clean_up(
    made: Stage, printed: list[str], taken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk the rehearsal ends, and everything is removed and reported."""

    def fill(_: Stage) -> dict[str, Any]:
        """Fill the disk."""

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        monkeypatch.setattr(made.runner, "_file", type("Full", (), {"write": full, "flush": full})())
        made.runner.run("true")
        made.progress.record_creation("more")
        return {}

    steps = [Step("make", make), Step("fill", fill, essential=True)]
    assert rehearsing.rehearse(made, steps, tmp_path / "report.md", keep=False) == 1
    assert taken == ["environment"]
    assert any(line.startswith("The report could not be written: [Errno 28]") for line in printed)
    assert any(line.startswith("The rehearsal: ended at the step fill, which failed.") for line in printed)


def test_interruption_during_the_start_of_a_command(made: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is interrupted and waited for like a running one, before the clean-up."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: Any, **named: Any) -> "subprocess.Popen[str]":
        begun.append(popen(*arguments, **named))
        signal.raise_signal(signal.SIGINT)
        return begun[0]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals.listen()
    try:
        with pytest.raises(InterruptedRehearsal):
            made.runner.run("sleep", "60")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert begun[0].returncode == -signal.SIGINT


def test_end_includes_earlier_failures_and_skipped_steps(made: Stage, tmp_path: Path) -> None:
    """The end names skipped steps, and a continued rehearsal includes earlier failures."""
    assert rehearsing.rehearse(made, [Step("skip", skip)], tmp_path / "report.md", keep=True) == 0
    assert "all passed, but skipped skip" in (tmp_path / "report.md").read_text()
    made.progress.add(StepResult("undo", FAILED, 1.0))
    assert rehearsing.rehearse(made, [Step("make", make)], tmp_path / "report.md", keep=True) == 1
    assert "failed: undo" in (tmp_path / "report.md").read_text()


def test_batch_that_could_not_be_stopped_is_undone(made: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the batch is committed first, the step fails with what to do, and the batch is undone for later steps."""
    commands = []

    def ratesflow(*arguments: str, codes: tuple[int, ...] = (0,)) -> Done:
        commands.append((*arguments, codes))
        code = batches.TOO_LATE if arguments[0] == "stop" else 0
        return Done(code, '{"batch_id": "stopped-1"}', 0.1)

    monkeypatch.setattr(batches, "new_file", lambda *_: Path("stopped.csv"))
    monkeypatch.setattr(made, "ratesflow", ratesflow)
    monkeypatch.setattr(made, "parameter", lambda _: "arn:aws:states:eu-west-3:1:stateMachine:ingestion")
    monkeypatch.setattr(made, "wait", lambda *_: True)
    monkeypatch.setattr(made, "client", lambda _: None)
    with pytest.raises(StepFailedError, match=r"stopped-1 was committed .*: rehearse with more --large-rows"):
        batches.stop(made)
    assert [each[0] for each in commands] == ["ingest", "stop", "undo"]
    assert commands[1][-1] == (0, 5)
