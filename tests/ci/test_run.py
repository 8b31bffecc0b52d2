"""`.ci/run` on machines that lack what the tests need, with stand-ins for what would change the machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.pipeline import ROOT, script

# What the script itself uses.
TOOLS = ("bash", "cat", "dirname", "env", "mktemp", "tail", "timeout")
COMMANDS = ("chromium", "node", "npm", "jq", "git")
SKIPPED = {
    "chromium": "the browser tests of the console and the explorer",
    "node": "the checks of the state machine by AWS's language service",
    "npm": "the checks of the state machine by AWS's language service",
    "jq": "the tests of the pipeline's migration",
    "git": "the test of what the package contains",
}


class Machine:
    """A folder of commands that is all of PATH, and a checkout that has `.ci/run` alone."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.checkout, self.calls = folder / "bin", folder / "checkout", folder / "calls"
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        (self.checkout / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", self.checkout / ".ci")
        self.add("make", 'echo "make $*"')
        self.add("id", "echo 0")

    def add(self, name: str, text: str = "") -> None:
        """Add a command that records its call and runs a text of shell."""
        file = self.bin / name
        file.write_text(f'#!{shutil.which("sh")}\necho "{name} $*" >> "{self.calls}"\n{text}\n')
        file.chmod(0o755)

    def run(self) -> list[str]:
        """Run `.ci/run`, which must succeed; return the lines that it printed."""
        environ = {name: value for name, value in os.environ.items() if name != "CHROMIUM"}
        environ |= {"PATH": str(self.bin), "TMPDIR": str(self.bin.parent)}
        command = [self.checkout / ".ci/run"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    def called(self, name: str) -> list[str]:
        """Return the calls of a command, in order."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.split()[0] == name]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A bare machine, as root on Debian without apt-get."""
    return Machine(tmp_path)


def skipped(*names: str) -> list[str]:
    """Return the lines that name the tests that are skipped without these commands."""
    return [f"{name} is missing: {SKIPPED[name]} are skipped." for name in names]


def test_what_is_missing_is_installed_at_once(machine: Machine) -> None:
    """As root with apt-get, all packages are installed in one call, and nothing is reported as skipped."""
    machine.add("git")
    makes = "; ".join(f'echo "#!/bin/sh" > {machine.bin / name}' for name in COMMANDS)
    marks = "; ".join(f"/bin/chmod +x {machine.bin / name}" for name in COMMANDS)
    machine.add("apt-get", f'case "$1" in install) {makes}; {marks} ;; esac')
    assert machine.run() == ["Installing chromium nodejs npm jq by apt-get.", "make lint test"]
    assert machine.called("apt-get") == [
        "apt-get update --quiet",
        "apt-get install --yes --quiet --no-install-recommends chromium nodejs npm jq",
    ]


def test_tests_run_without_what_apt_get_cannot_install(machine: Machine) -> None:
    """If apt-get fails, its exit code and last lines are printed, and the tests that are skipped; the others run."""
    machine.add("jq")
    machine.add("apt-get", 'echo "E: no connection" >&2; exit 100')
    first, *rest = machine.run()
    assert first == "Installing chromium nodejs npm git by apt-get."
    assert rest[0].startswith("apt-get failed with exit code 100 (all of its output: ")
    assert "E: no connection" in rest[1:]
    assert rest[-5:] == [*skipped("chromium", "node", "npm", "git"), "make lint test"]
    assert len(machine.called("apt-get")) == 2


def test_an_update_that_fails_does_not_prevent_the_installation(machine: Machine) -> None:
    """apt-get installs from the lists of an earlier update if a new one fails."""
    for name in set(COMMANDS) - {"jq"}:
        machine.add(name)
    jq = machine.bin / "jq"
    machine.add("apt-get", f'[ "$1" != update ] || exit 100\necho "#!/bin/sh" > {jq}; /bin/chmod +x {jq}')
    assert machine.run() == ["Installing jq by apt-get.", "make lint test"]


def test_only_root_installs(machine: Machine) -> None:
    """Another user is given the command to run as root; neither apt-get nor sudo is called."""
    machine.add("id", "echo 1000")
    machine.add("apt-get")
    machine.add("sudo")
    machine.add("node")
    machine.add("npm")
    assert machine.run() == [
        "Not root, so nothing is installed. As root, run: apt-get install chromium jq git",
        *skipped("chromium", "jq", "git"),
        "make lint test",
    ]
    assert machine.called("apt-get") + machine.called("sudo") == []


def test_without_apt_get_the_packages_are_named(machine: Machine) -> None:
    """On a system without apt-get the packages and the skipped tests are listed, and the others run."""
    assert machine.run() == [
        "apt-get is not available; install these by other means: chromium nodejs npm jq git",
        *skipped(*COMMANDS),
        "make lint test",
    ]


def test_nothing_is_called_if_all_is_there(machine: Machine) -> None:
    """With all commands installed, Chrome in place of Chromium, apt-get is not called and nothing is printed."""
    for name in ("google-chrome", *COMMANDS[1:], "apt-get"):
        machine.add(name)
    assert machine.run() == ["make lint test"]
    assert machine.called("apt-get") == []


def test_a_failure_of_the_tests_is_one_of_the_script(machine: Machine) -> None:
    """The script ends with the status of `make`."""
    for name in COMMANDS:
        machine.add(name)
    machine.add("make", "exit 2")
    command = [machine.checkout / ".ci/run"]
    assert subprocess.run(command, env={"PATH": str(machine.bin)}, timeout=30, check=False).returncode == 2


def test_the_pipeline_installs_nothing_else() -> None:
    """GitLab's job of the tests is `.ci/run`, so that what the tests need is listed in one place."""
    assert script("test").splitlines() == ["set -e", ".ci/run"]


def test_the_script_is_sound() -> None:
    """shellcheck finds nothing in it."""
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([checker, ROOT / ".ci/run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
