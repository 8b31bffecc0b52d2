"""What the steps of a rehearsal may do to it: whatever goes wrong, it cleans up and tells the truth."""

import errno
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal import rehearsing, signals
from tests.rehearsal.progress import FAILED, StepResult, begin
from tests.rehearsal.runner import Runner
from tests.rehearsal.settings import ROOT
from tests.rehearsal.signals import InterruptedRehearsal
from tests.rehearsal.stage import Options, SkippedError, Stage
from tests.rehearsal.stages.steps import Step
from tests.rehearsal.stages.taking_down import Act


def make(stage: Stage) -> dict[str, Any]:
    """Make something."""
    stage.progress.make("environment")
    return {}


def stumble(_: Stage) -> dict[str, Any]:
    """Meet an answer that nobody foresaw."""
    raise KeyError("jobDefinitions")


def skip(_: Stage) -> dict[str, Any]:
    """Skip."""
    raise SkippedError("not here")


@pytest.fixture
def said() -> list[str]:
    """What the rehearsal says."""
    return []


@pytest.fixture
def made(tmp_path: Path, said: list[str]) -> Stage:
    """A rehearsal that asks nobody."""
    runner = Runner(tmp_path, {"PATH": "/usr/bin:/bin"}, said.append, ROOT)
    progress = begin(tmp_path / "progress.json", "sandbox", "eu-west-3")
    progress.values["account"] = "123456789012"
    return Stage(Options("sandbox", "eu-west-3", tmp_path), runner, progress, said.append)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was taken away; of two things the first cannot be, for a reason that nobody foresaw."""
    found: list[str] = []

    def first(_: Stage) -> None:
        found.append("executions")
        raise KeyError("executions")

    acts = (
        Act("executions", first, lambda _: []),
        Act("environment", lambda _: found.append("environment"), lambda _: []),
    )
    monkeypatch.setattr("tests.rehearsal.stages.taking_down.ACTS", acts)
    return found


def test_whatever_a_step_raises(made: Stage, taken: list[str], tmp_path: Path) -> None:
    """The step has not held, the environment is taken away as far as it can be, and the report says both."""
    made.progress.make("executions")
    steps = [Step("make", make), Step("stumble", stumble, essential=True)]
    assert rehearsing.rehearse(made, steps, tmp_path / "report.md", keep=False) == 1
    assert taken == ["executions", "environment"]
    assert made.progress.made == ["executions"]
    text = (tmp_path / "report.md").read_text()
    assert "ended at the step stumble, which did not hold" in text
    assert "KeyError: 'jobDefinitions'" in text
    assert "- executions: KeyError: 'executions'" in text


def test_a_full_disk(
    made: Stage, said: list[str], taken: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more is made, but what was made is taken away, and said to be."""

    def fill(_: Stage) -> dict[str, Any]:
        """Fill the disk."""

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        monkeypatch.setattr(made.runner, "_file", type("Full", (), {"write": full, "flush": full})())
        made.runner.run("true")
        made.progress.make("more")
        return {}

    steps = [Step("make", make), Step("fill", fill, essential=True)]
    assert rehearsing.rehearse(made, steps, tmp_path / "report.md", keep=False) == 1
    assert taken == ["environment"]
    assert any(line.startswith("The report could not be written: [Errno 28]") for line in said)
    assert any(line.startswith("The rehearsal: ended at the step fill, which did not hold.") for line in said)


def test_an_interruption_while_a_command_starts(made: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is told and waited for, as one that runs: nothing goes on beside the clean-up."""
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


def test_what_was_skipped_or_failed_before_is_in_the_end(made: Stage, tmp_path: Path) -> None:
    """A rehearsal with a step that was skipped did not show all, and one that goes on has not forgotten a failure."""
    assert rehearsing.rehearse(made, [Step("skip", skip)], tmp_path / "report.md", keep=True) == 0
    assert "all held, but skipped skip" in (tmp_path / "report.md").read_text()
    made.progress.add(StepResult("undo", FAILED, 1.0))
    assert rehearsing.rehearse(made, [Step("make", make)], tmp_path / "report.md", keep=True) == 1
    assert "did not hold: undo" in (tmp_path / "report.md").read_text()
