"""The files that commands are given: pipes, standard input, names, and keys that do not collide."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main
from ratesflow.workflow.cli.files import InputFile, inbox_keys
from ratesflow.workflow.cli.sample_batch import sample_lines

RATESFLOW = str(Path(sys.executable).with_name("ratesflow"))
GOOD = "".join(f"{line}\n" for line in sample_lines(["CNGGZ", "EETLL", "NLRTM"], 50, 1)).encode()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `ratesflow` in a folder without a stack, with bytes on its standard input."""
    for name in ("RATESFLOW_HOME", "RATESFLOW_ENV", "RATESFLOW_STATE_MACHINE_ARN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, given=b"": subprocess.run(
        [RATESFLOW, *arguments], input=given, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_validate_reads_a_pipe(run, name):
    """A pipe is checked like a file, whether it is given as - or /dev/stdin."""
    done = run("validate", name, given=GOOD)
    assert (done.returncode, done.stdout.decode().split(":")[0]) == (0, "accepted, 50 rows"), done.stderr
    done = run("validate", name, given=GOOD + b"x,y,z,0\n")
    assert done.returncode == 3
    assert done.stdout.decode().startswith("1 of 51 rows was rejected")


def test_validate_does_not_wait_for_a_database_that_does_not_answer(run, monkeypatch):
    """With an address where nothing listens, one sentence says that the built-in ports are used, within seconds."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://loader:x@127.0.0.1:1/x")
    began = time.monotonic()
    done = run("validate", "-", given=GOOD)
    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, b"accepted, 50 rows: standard input\n")
    assert done.stderr.startswith(b"The database of DATABASE_URL does not answer; the built-in ports are used: ")
    assert done.stderr.count(b"\n") == 1


def test_validate_reads_a_named_pipe_and_a_redirected_file(run, tmp_path):
    """A named pipe is read once, to its end; standard input may also be a redirected file."""
    fifo = tmp_path / "prices.fifo"
    os.mkfifo(fifo)
    threading.Thread(target=lambda: fifo.write_bytes(GOOD), daemon=True).start()
    assert run("validate", str(fifo)).stdout == f"accepted, 50 rows: {fifo}\n".encode()
    (tmp_path / "good.csv").write_bytes(GOOD)
    done = subprocess.run(
        [RATESFLOW, "validate", "/dev/stdin"], stdin=(tmp_path / "good.csv").open(), capture_output=True, check=False
    )
    assert done.stdout == b"accepted, 50 rows: /dev/stdin\n"


def test_validate_takes_several_files_and_exits_with_the_worst(run, tmp_path):
    """Each file is reported by its name; a rejected one decides the exit code."""
    (tmp_path / "good.csv").write_bytes(GOOD)
    (tmp_path / "bad.csv").write_bytes(b"\x00\x01\x02")
    done = run("validate", "bad.csv", "good.csv")
    assert done.returncode == 3
    text = done.stdout.decode()
    assert text.startswith("rejected: bad.csv\nThe file was rejected.\n")
    assert text.endswith("accepted, 50 rows: good.csv\n")
    reports = [json.loads(line) for line in run("validate", "--json", "bad.csv", "good.csv").stdout.splitlines()]
    assert [report["accepted"] for report in reports] == [False, True]


def given(*names):
    return [InputFile(name, Path(name), Path(name).name) for name in names]


def test_keys_of_files_that_collide_are_rejected():
    """Two files that would be one object are rejected before anything is uploaded; each is named."""
    with pytest.raises(
        click.UsageError, match=r"a/prices[.]csv and b/prices[.]csv would both be incoming/prices[.]csv"
    ):
        inbox_keys("incoming/", given("a/prices.csv", "b/prices.csv"))
    assert inbox_keys("incoming/", given("a/x.csv", "b/y.csv")) == ["incoming/x.csv", "incoming/y.csv"]


def test_keys_have_a_prefix_or_a_name():
    """--prefix applies to all files and --name replaces the name of one; both may start with the inbox."""
    assert inbox_keys("incoming/", given("a/x.csv"), "acme") == ["incoming/acme/x.csv"]
    assert inbox_keys("incoming/", given("a/x.csv"), "incoming/acme/", "y.csv") == ["incoming/acme/y.csv"]
    assert inbox_keys("incoming/", given("a/x.csv"), name="incoming/acme/y.csv") == ["incoming/acme/y.csv"]
    with pytest.raises(click.UsageError, match="--name is for one file"):
        inbox_keys("incoming/", given("x.csv", "y.csv"), name="z.csv")
    with pytest.raises(click.UsageError, match="standard input has no name: give one with --name"):
        inbox_keys("incoming/", [InputFile("standard input", Path("1"), None)])
    for name in ("folder/", "", "x" * 1024):
        with pytest.raises(click.UsageError, match="is not a valid key"):
            inbox_keys("incoming/", given("x.csv"), name=name)


def test_standard_input_is_given_once():
    """Standard input given twice is wrong usage."""
    assert CliRunner().invoke(main, ["validate", "-", "-"]).exit_code == 2
