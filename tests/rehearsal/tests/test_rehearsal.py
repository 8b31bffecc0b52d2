"""A rehearsal from its first line to its report, with the embedded stack in place of AWS and stand-ins for tools."""

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.local.conftest import Stack
from tests.rehearsal.conftest import Rehearsal, new_rehearsal
from tests.rehearsal.settings import ROOT
from tests.rehearsal.stages.steps import NAMES
from tests.rehearsal.verified import first_lines

ACCOUNT = "123456789012"
FLIPPED = ("flip-compute", "flip-rds-instance-class")
SECOND, END = ("release", *FLIPPED), ("destroy", "nothing-left")
SKIPPED = ("large-batch",)  # takes long and is like what is not left out
LEFT_OUT = [name for name in NAMES if name in SKIPPED or (name.startswith("flip-") and name not in FLIPPED)]


@pytest.fixture(scope="module")
def begun(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """A rehearsal that stopped before the release, with its environment up."""
    made = new_rehearsal(stack, tmp_path_factory.mktemp("begun"))
    out = made.run("--keep", "--skip", ",".join([*LEFT_OUT, *SECOND]), code=0, given=f"{ACCOUNT}\n").stdout
    assert out.startswith("\n".join(first_lines()))
    return made


def test_from_nothing_to_answers(begun: Rehearsal) -> None:
    """Every step holds, or says why it cannot be done here; what was kept is named, with what takes it away."""
    report = begun.report()
    outcomes = {step["name"]: step["outcome"] for step in report["steps"]}
    assert list(outcomes) == [name for name in NAMES if name not in (*LEFT_OUT, *SECOND, *END)]
    skipped = {step["name"]: step["words"] for step in report["steps"] if step["outcome"] == "skipped"}
    assert set(skipped) == {"service", "rotation"}
    assert "no service of ECS" in skipped["service"]
    assert "there is no such secret" in skipped["rotation"]
    assert set(outcomes.values()) == {"held", "skipped"}
    times = report["times"]["a small batch"]
    assert times["upload to visible"] > 0
    assert [row["step"] for row in times["steps"]] == ["Validate", "Load", "Commit", "all other states"]
    assert list(report["left"]) == [
        "executions",
        "environment",
        "workspace",
        "task definitions",
        "log groups",
        "images",
    ]
    assert _parameters(begun)


def test_going_on_to_the_end(begun: Rehearsal) -> None:
    """What goes on knows what was committed: requests and batches during a release and a flip hold; nothing is left."""
    begun.run("--from", "release", "--yes", "--skip", ",".join(LEFT_OUT), code=0)
    report = begun.report()
    assert (report["end"], report["left"], report["not_run"]) == (
        "all held, but skipped service, rotation, flip-rds-instance-class", {}, LEFT_OUT,
    )  # fmt: skip
    details = {step["name"]: step["details"] for step in report["steps"]}
    for met in (details["release"], *details["flip-compute"].values()):
        assert met["failed"] == 0
        assert met["requests"] > 10
        assert met["batches committed meanwhile"] > 0
    assert _parameters(begun) == []
    assert begun.stack.aws("ecr").list_images(repositoryName="ratesflow/api")["imageIds"] == []
    assert "| release | yes |" in (begun.folder / "report.md").read_text()


def test_an_interruption(rehearsal: Rehearsal) -> None:
    """Ctrl-C in an apply lets Terraform end in order, destroys, deletes the workspace and the images, and says so."""
    (rehearsal.told / "slow-apply").write_text("yes")
    process = _started(rehearsal)
    _wait_for(rehearsal.told / "applying", process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    calls = [call.removeprefix("-chdir=terraform ") for call in rehearsal.calls("terraform")]
    order = ["apply ended in order", "destroy -auto-approve", "workspace select default", "workspace delete sandbox"]
    found = [next(at for at, call in enumerate(calls) if call.startswith(each)) for each in order]
    assert found == sorted(found)
    images = rehearsal.stack.aws("ecr").list_images(repositoryName="ratesflow/loader")["imageIds"]
    assert images == []
    report = rehearsal.report()
    assert (report["end"], report["left"]) == ("interrupted by SIGINT", {})
    assert report["steps"][-1] | {"seconds": 0} == {
        "name": "apply", "outcome": "did not hold", "seconds": 0, "words": "interrupted by SIGINT", "details": {},
    }  # fmt: skip


def test_a_second_one_leaves(rehearsal: Rehearsal) -> None:
    """Ctrl-C during the clean-up leaves at once, with the commands that take away what is left; --clean-up does so."""
    for name in ("slow-apply", "slow-destroy"):
        (rehearsal.told / name).write_text("yes")
    process = _started(rehearsal)
    for mark in ("applying", "destroying"):
        _wait_for(rehearsal.told / mark, process)
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    left = ["environment", "workspace", "task definitions", "log groups", "images"]
    assert list(rehearsal.report()["left"]) == left
    assert re.search(r"^terraform \(process \d+\) still runs: let it end before anything else\.$", out, re.M)
    assert rehearsal.report()["end"] == "interrupted by SIGINT; left before the end of the clean-up by SIGINT"
    assert f"Still there, and paid for: {', '.join(left)}." in out
    assert "  terraform -chdir=terraform destroy -var-file=environments/sandbox.tfvars\n" in out
    assert "  export TF_VAR_alarm_emails='[\"oncall@example.com\"]'\n" in out
    refused = rehearsal.run("--yes", code=2)
    assert "The last rehearsal left images, workspace, environment" in refused.stderr
    (rehearsal.told / "slow-destroy").unlink()
    done = rehearsal.run("--clean-up", code=0)
    assert "Nothing is left of it" in done.stdout


def test_a_step_that_fails(rehearsal: Rehearsal) -> None:
    """The report names the step and what could not be taken away; what needs that is not tried, the rest is."""
    for name in ("fail-apply", "fail-destroy"):
        (rehearsal.told / name).write_text("yes")
    rehearsal.run("--yes", code=1)
    report = rehearsal.report()
    assert report["end"] == "ended at the step apply, which did not hold"
    assert report["steps"][-1]["words"].endswith("Error: told to fail")
    environment, *others = report["not_taken_away"]
    assert environment.startswith("environment: terraform -chdir=terraform destroy")
    assert others == [
        f"{name}: not tried, since environment could not be taken away"
        for name in ("workspace", "log groups", "images")
    ]
    assert list(report["left"]) == ["environment", "workspace", "log groups", "images"]
    (rehearsal.told / "fail-destroy").unlink()
    rehearsal.run("--clean-up", code=0)


def test_terraform_that_does_not_end(rehearsal: Rehearsal) -> None:
    """While it is waited for, nobody else gets at it; a second Ctrl-C leaves, and the report calls nothing held."""
    (rehearsal.told / "slow-apply").write_text("yes")
    process = _started(rehearsal)
    _wait_for(rehearsal.told / "applying", process)
    for arguments in (["--clean-up"], ["--yes", "--from", "apply"]):
        assert "Another rehearsal is at work in " in rehearsal.run(*arguments, code=2).stderr
    (terraform,) = psutil.Process(process.pid).children()
    terraform.suspend()
    try:
        process.send_signal(signal.SIGINT)
        _wait_until(process, "waiting for terraform")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        terraform.kill()
    assert process.returncode == 130, out
    report = rehearsal.report()
    assert report["end"] == "interrupted; left before the end of the clean-up by SIGINT"
    assert (report["steps"][-1]["name"], report["steps"][-1]["outcome"]) == ("apply", "did not hold")
    _other_names(rehearsal)
    rehearsal.run("--clean-up", code=0)


def _other_names(rehearsal: Rehearsal) -> None:
    """What one rehearsal left is not taken away under another's name, nor in another account."""
    before = rehearsal.calls("terraform")
    for workspace in ("production", "staging"):
        refused = rehearsal.run("--workspace", workspace, "--clean-up", code=2).stderr
        assert f"is of the workspace sandbox, and {workspace} was named" in refused
    file = rehearsal.folder / "progress.json"
    whole = file.read_text()
    file.write_text(whole.replace('"account": "123456789012"', '"account": "999999999999"'))
    for arguments in (["--clean-up"], ["--yes", "--from", "apply"]):
        refused = rehearsal.run(*arguments, code=2).stderr
        assert "This rehearsal began in account 999999999999, and you are in 123456789012" in refused
    file.write_text(whole[:20])
    assert "is no progress of a rehearsal" in rehearsal.run("--clean-up", code=2).stderr
    file.write_text(whole)
    assert [call for call in rehearsal.calls("terraform")[len(before) :] if "version" not in call] == []


def _started(rehearsal: Rehearsal) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        rehearsal.command("--yes"), cwd=ROOT, env=rehearsal.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def _wait_for(mark: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"no {mark.name}"
        time.sleep(0.02)


def _wait_until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"it did not say: {words}")


def _parameters(rehearsal: Rehearsal) -> list[object]:
    ssm = rehearsal.stack.aws("ssm")
    return list(ssm.get_parameters_by_path(Path="/ratesflow/sandbox/")["Parameters"])
