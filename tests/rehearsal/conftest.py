"""Fixtures of rehearsals with stand-ins for tools, and one embedded stack in place of AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ratesflow.local.deploy import CREDENTIALS
from tests.local.conftest import Stack, new_stack
from tests.rehearsal import progress, stand_ins
from tests.rehearsal.runner import Runner, environment_of
from tests.rehearsal.settings import ROOT
from tests.rehearsal.stage import Options, Stage

OTHER_REGION = "eu-west-3"  # a region that no other test uses


@dataclass
class Rehearsal:
    """One rehearsal: its folder and its environment."""

    stack: Stack
    folder: Path
    environ: dict[str, str]

    @property
    def stand_in_settings(self) -> Path:
        """The folder of the stand-ins' settings, and of their recorded calls."""
        return Path(self.environ[stand_ins.FOLDER])

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a rehearsal with these arguments."""
        own = ("--folder", str(self.folder), "--rows", "2000", "--large-rows", "40000", "--pause", "0.1")
        return [sys.executable, "-m", "tests.rehearsal", *own, "--wait", "60", *arguments]

    def run(self, *arguments: str, code: int, given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run the rehearsal to its end."""
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.environ, input=given, capture_output=True, text=True,
            timeout=170,
        )  # fmt: skip
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def report(self) -> dict[str, Any]:
        """Return the JSON report."""
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found

    def calls(self, name: str) -> list[str]:
        """Return the recorded calls of a stand-in."""
        lines = (self.stand_in_settings / "calls.log").read_text().splitlines()
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A separate stack for these tests: rehearsals register revisions and push images."""
    found = new_stack(tmp_path_factory.mktemp("rehearsal") / "home")
    found.up()
    yield found
    found.run("down")


def new_rehearsal(stack: Stack, tmp_path: Path) -> Rehearsal:
    """Return a rehearsal that has not started, with stand-ins for all tools except `aws` and `ratesflow`."""
    commands, settings = stand_ins.install(tmp_path), tmp_path / "settings"
    settings.mkdir()
    (settings / "home").write_text(str(stack.home))
    given = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "RATESFLOW_", "TF_", "DATABASE_"))}
    environ = given | CREDENTIALS | {
        "AWS_ENDPOINT_URL": stack.environment["AWS_ENDPOINT_URL"],
        "AWS_CONFIG_FILE": os.devnull,
        "PATH": f"{commands}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TF_VAR_alarm_emails": '["oncall@example.com"]',
        stand_ins.FOLDER: str(settings),
    }  # fmt: skip
    return Rehearsal(stack, tmp_path / "files", environ)


@pytest.fixture
def rehearsal(stack: Stack, tmp_path: Path) -> Rehearsal:
    """A rehearsal that has not started."""
    return new_rehearsal(stack, tmp_path)


MakeStage = Callable[..., Stage]


@pytest.fixture
def stage(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeStage:
    """A function that creates a stage in this process with the environment of a rehearsal."""

    def make(workspace: str = "sandbox", **environ: str) -> Stage:
        for name, value in (rehearsal.environ | environ).items():
            monkeypatch.setenv(name, value)
        folder = tmp_path / "files"
        folder.mkdir()
        runner = Runner(folder, environment_of(OTHER_REGION, Path(os.devnull)), print, ROOT)
        begun = progress.begin(folder / "progress.json", workspace, OTHER_REGION)
        return Stage(Options(workspace, OTHER_REGION, folder, pause_seconds=0.1), runner, begun, print)

    return make
