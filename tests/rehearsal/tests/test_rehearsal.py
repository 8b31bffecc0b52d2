"""A whole rehearsal, with the embedded stack in place of AWS and stand-ins for tools."""

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.local.conftest import Stack
from tests.local.signaller import slow_motion
from tests.rehearsal.conftest import Rehearsal, new_rehearsal
from tests.rehearsal.settings import ROOT
from tests.rehearsal.stages.steps import NAMES
from tests.rehearsal.verified import first_lines

ACCOUNT = "123456789012"
FLIPPED = ("flip-compute", "flip-rds-instance-class")
SECOND, END = ("release", *FLIPPED), ("destroy", "nothing-left")
SKIPPED = ("large-batch",)  # slow, and similar to the small batch
LEFT_OUT = [name for name in NAMES if name in SKIPPED or (name.startswith("flip-") and name not in FLIPPED)]


@pytest.fixture(scope="module")
def begun(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """A rehearsal that stopped before the release, with its environment up."""
    made = new_rehearsal(stack, tmp_path_factory.mktemp("begun"))
    process = _started(made, "--keep", "--skip", ",".join([*LEFT_OUT, *SECOND]))
    assert process.stdin
    process.stdin.write(f"{ACCOUNT}\n")
    process.stdin.close()
    out = _wait_until(process, "stop: Stop")
    with slow_motion(stack, "stopped-"):  # a laptop commits the batch before the command to stop it has begun
        out += _wait_until(process, "upkeep: Run")
    assert process.stdout
    out += process.stdout.read()
    assert process.wait(60) == 0, out
    assert out.startswith("\n".join(first_lines()))
    return made


def test_steps_before_the_release_pass(begun: Rehearsal) -> None:
    """Every step passes or is skipped with a reason; the report lists what remains, with the commands for it."""
    report = begun.report()
    outcomes = {step["name"]: step["outcome"] for step in report["steps"]}
    assert list(outcomes) == [name for name in NAMES if name not in (*LEFT_OUT, *SECOND, *END)]
    skipped = {step["name"]: step["message"] for step in report["steps"] if step["outcome"] == "skipped"}
    assert set(skipped) == {"service", "rotation"}
    assert "no ECS service" in skipped["service"]
    assert "there is no such secret" in skipped["rotation"]
    assert set(outcomes.values()) == {"passed", "skipped"}
    times = report["times"]["a small batch"]
    assert times["upload to visible"] > 0
    assert [row["step"] for row in times["steps"]] == ["Validate", "Load", "Commit", "all other states"]
    assert list(report["remaining"]) == [
        "executions",
        "environment",
        "workspace",
        "task definitions",
        "log groups",
        "images",
    ]
    assert _parameters(begun)


def test_continued_rehearsal_passes_and_leaves_nothing(begun: Rehearsal) -> None:
    """A continued rehearsal knows the committed batches, passes a release and a flip under load, and leaves nothing."""
    begun.run("--from", "release", "--yes", "--skip", ",".join(LEFT_OUT), code=0)
    report = begun.report()
    assert (report["end"], report["remaining"], report["not_run"]) == (
        "all passed, but skipped service, rotation, flip-rds-instance-class", {}, LEFT_OUT,
    )  # fmt: skip
    details = {step["name"]: step["details"] for step in report["steps"]}
    for met in (details["release"], *details["flip-compute"].values()):
        assert met["failed"] == 0
        assert met["requests"] > 10
        assert met["batches committed meanwhile"] > 0
    assert _parameters(begun) == []
    assert begun.stack.aws("ecr").list_images(repositoryName="ratesflow/api")["imageIds"] == []
    assert "| release | yes |" in (begun.folder / "report.md").read_text()


def test_interruption_cleans_up(rehearsal: Rehearsal) -> None:
    """Ctrl-C during an apply lets Terraform finish, and then removes environment, workspace and images."""
    (rehearsal.stand_in_settings / "slow-apply").write_text("yes")
    process = _started(rehearsal, "--yes")
    _wait_for(rehearsal.stand_in_settings / "applying", process)
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
    assert (report["end"], report["remaining"]) == ("interrupted by SIGINT", {})
    assert report["steps"][-1] | {"seconds": 0} == {
        "name": "apply", "outcome": "failed", "seconds": 0, "message": "interrupted by SIGINT", "details": {},
    }  # fmt: skip


def test_second_interruption_aborts_the_clean_up(rehearsal: Rehearsal) -> None:
    """Ctrl-C during the clean-up exits at once and prints the commands for what remains; --clean-up removes it."""
    for name in ("slow-apply", "slow-destroy"):
        (rehearsal.stand_in_settings / name).write_text("yes")
    process = _started(rehearsal, "--yes")
    for mark in ("applying", "destroying"):
        _wait_for(rehearsal.stand_in_settings / mark, process)
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    left = ["environment", "workspace", "task definitions", "log groups", "images"]
    assert list(rehearsal.report()["remaining"]) == left
    assert re.search(r"^terraform \(process \d+\) is still running: wait until it has ended\.$", out, re.M)
    assert rehearsal.report()["end"] == "interrupted by SIGINT; aborted during the clean-up by SIGINT"
    assert f"Remaining, at cost: {', '.join(left)}." in out
    assert "  terraform -chdir=terraform destroy -var-file=environments/sandbox.tfvars\n" in out
    assert "  export TF_VAR_alarm_emails='[\"oncall@example.com\"]'\n" in out
    rejected = rehearsal.run("--yes", code=2)
    assert "The last one left images, workspace, environment" in rejected.stderr
    (rehearsal.stand_in_settings / "slow-destroy").unlink()
    done = rehearsal.run("--clean-up", code=0)
    assert "Nothing remains" in done.stdout


def test_failed_step_is_reported(rehearsal: Rehearsal) -> None:
    """The report names the failed step and what could not be removed; only steps that depend on it are not tried."""
    for name in ("fail-apply", "fail-destroy"):
        (rehearsal.stand_in_settings / name).write_text("yes")
    rehearsal.run("--yes", code=1)
    report = rehearsal.report()
    assert report["end"] == "ended at the step apply, which failed"
    assert report["steps"][-1]["message"].endswith("Error: failed on request")
    environment, *others = report["not_removed"]
    assert environment.startswith("environment: terraform -chdir=terraform destroy")
    assert others == [
        f"{name}: not tried, since environment could not be removed" for name in ("workspace", "log groups", "images")
    ]
    assert list(report["remaining"]) == ["environment", "workspace", "log groups", "images"]
    (rehearsal.stand_in_settings / "fail-destroy").unlink()
    rehearsal.run("--clean-up", code=0)


def test_hanging_terraform(rehearsal: Rehearsal) -> None:
    """While the rehearsal waits for Terraform, its folder is locked; a second Ctrl-C exits and the step has failed."""
    (rehearsal.stand_in_settings / "slow-apply").write_text("yes")
    process = _started(rehearsal, "--yes")
    _wait_for(rehearsal.stand_in_settings / "applying", process)
    for arguments in (["--clean-up"], ["--yes", "--from", "apply"]):
        assert "Another rehearsal is running in " in rehearsal.run(*arguments, code=2).stderr
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
    assert report["end"] == "interrupted; aborted during the clean-up by SIGINT"
    assert (report["steps"][-1]["name"], report["steps"][-1]["outcome"]) == ("apply", "failed")
    _check_mismatches(rehearsal)
    rehearsal.run("--clean-up", code=0)


def _check_mismatches(rehearsal: Rehearsal) -> None:
    """Check that a clean-up with another workspace or in another account is rejected."""
    before = rehearsal.calls("terraform")
    for workspace in ("production", "staging"):
        rejected = rehearsal.run("--workspace", workspace, "--clean-up", code=2).stderr
        assert f"is of the workspace sandbox, not {workspace}" in rejected
    file = rehearsal.folder / "progress.json"
    whole = file.read_text()
    file.write_text(whole.replace('"account": "123456789012"', '"account": "999999999999"'))
    for arguments in (["--clean-up"], ["--yes", "--from", "apply"]):
        rejected = rehearsal.run(*arguments, code=2).stderr
        assert "This rehearsal started in account 999999999999, but you are in 123456789012" in rejected
    file.write_text(whole[:20])
    assert "is not the progress of a rehearsal" in rehearsal.run("--clean-up", code=2).stderr
    file.write_text(whole)
    assert [call for call in rehearsal.calls("terraform")[len(before) :] if "version" not in call] == []


def _started(rehearsal: Rehearsal, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        rehearsal.command(*arguments), cwd=ROOT, env=rehearsal.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _wait_for(mark: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"no {mark.name}"
        time.sleep(0.02)


def _wait_until(process: "subprocess.Popen[str]", words: str) -> str:
    """Read the output up to the line with these words, and return it."""
    assert process.stdout
    read = ""
    for line in process.stdout:
        read += line
        if words in line:
            return read
    raise AssertionError(f"missing in the output: {words}\n{read}")


def _parameters(rehearsal: Rehearsal) -> list[object]:
    ssm = rehearsal.stack.aws("ssm")
    return list(ssm.get_parameters_by_path(Path="/ratesflow/sandbox/")["Parameters"])
