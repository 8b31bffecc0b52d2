"""`ingest` and `show --follow` on a terminal, where rows are redrawn, and without one."""

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.loader.samples import csv, rows
from tests.local.conftest import RATESFLOW, Stack
from tests.local.process_control import ended
from tests.local.signaller import Signaller, slow_motion

SIGNS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A command on its own terminal, and its output."""

    process: "subprocess.Popen[bytes]"
    master: int
    drawn: list[str] = field(default_factory=list)

    def read(self, until: Callable[[str], bool] = lambda _: False, seconds: float = 120) -> str:
        """Read the output until a condition holds or the command ends; return it without control sequences."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until(self.text):
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.drawn.append(data.decode("utf-8", "replace"))
        return self.text

    @property
    def text(self) -> str:
        """The output so far."""
        return SIGNS.sub("", "".join(self.drawn)).replace("\r", "\n")


@pytest.fixture
def terminal(stack: Stack):
    """Runs `ratesflow` on a terminal of 100 columns."""
    opened: list[Terminal] = []

    def run(*arguments: str) -> Terminal:
        master, slave = pty.openpty()
        command = [RATESFLOW, "--home", str(stack.home), *arguments]
        environment = os.environ | {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
        process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            # As a shell on a terminal does; who runs the tests in the background may have it ignored.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        os.close(slave)
        opened.append(Terminal(process, master))
        return opened[-1]

    yield run
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


def batch(path: Path, seed: int, times: int = 1) -> Path:
    """Make a file of 20,000 rows, repeated."""
    header, _, body = csv(rows(20_000, seed=seed)).partition(b"\n")
    path.write_bytes(header + b"\n" + body * times)
    return path


def test_rows_move_while_a_large_file_is_loaded(stack, terminal, tmp_path):
    """The bars of upload, validate and load advance, never exceed the rows of the file, and end with all of them."""
    with slow_motion(stack, "large"):
        shown = terminal("ingest", str(batch(tmp_path / "large.csv", 91, 60)))
        text = shown.read()
    assert shown.process.wait(10) == 0, text
    for step, pattern in (
        ("upload", r"upload +\S+ +(\d+) % [\d.]+ of [\d.]+ MB"),
        ("validate", r"validate +\S+ +(\d+) % [\d,]+ rows"),
        ("load", r"load +\S+ +(\d+) % [\d,]+ of 1,200,000 rows"),
    ):
        seen = {int(percent) for percent in re.findall(pattern, text)}
        assert any(0 < percent < 100 for percent in seen) or step == "upload", (step, text)
        assert max(seen) <= 100
    counts = [int(count.replace(",", "")) for count in re.findall(r" % ([\d,]+) (?:of [\d,]+ )?rows", text)]
    assert max(counts) == 1_200_000
    assert re.search(r"validate +[\d.]+ s  accepted, 1,200,000 rows", text)
    assert re.search(r"load +[\d.]+ s  loaded, 1,200,000 rows", text)
    assert "committed, 1,200,000 rows in" in text


def test_many_files_have_a_row_each(terminal, tmp_path):
    """Files that are ingested together each have a row, and their outcomes are printed in their order."""
    bad = tmp_path / "second.csv"
    files = [batch(tmp_path / "first.csv", 92), bad, batch(tmp_path / "third.csv", 93)]
    bad.write_text("orig_code,dest_code,day,price\nAAAAA,BBBBB,2021-01-01,1\n")
    shown = terminal("ingest", *map(str, files))
    text = shown.read()
    assert shown.process.wait(10) == 3, text
    for file in files:
        assert re.search(rf"{file.name} +(upload|waiting|validate) ", text), text
    order = [text.index(f"{word}") for word in ("in ", "first-", "second-", "third-")]
    assert order == sorted(order)
    assert text.count("committed, 20,000 rows in") == 2
    assert "rejected, 1 rows in" in text


def test_ctrl_c_leaves_the_batch_running(terminal, stack, tmp_path):
    """Ctrl-C only stops watching; the command that it prints continues to watch, to the end."""
    with slow_motion(stack, "left"):
        shown = terminal("ingest", str(batch(tmp_path / "left.csv", 94, 40)))
        shown.read(lambda text: re.search(r"validate +\S+ +\d+ %", text) is not None)
        os.killpg(shown.process.pid, signal.SIGINT)
        text = shown.read()
        assert shown.process.wait(10) == 130
    assert "Traceback" not in text
    (name,) = re.findall(r"ratesflow show --follow (left-\w+)", text)
    followed = terminal("show", "--follow", name)
    assert "committed" in followed.read()
    assert followed.process.wait(10) == 0
    assert ended(stack, name)["status"] == "SUCCEEDED"


def test_ctrl_c_during_the_upload_sends_nothing_more(terminal, stack, tmp_path):
    """A file that is not uploaded yet is reported as such, and is not uploaded afterwards."""
    files = [batch(tmp_path / f"cut-{number}.csv", 95 + number, 100) for number in range(3)]
    shown = terminal("ingest", *map(str, files))
    shown.read(lambda text: "upload" in text)
    os.killpg(shown.process.pid, signal.SIGINT)
    text = shown.read()
    assert shown.process.wait(30) == 130
    assert f"Not uploaded: {files[2]}" in "".join(text.split("\n")) or "cut-2.csv" in text.split("Not uploaded:")[-1]
    keys = stack.aws("s3").list_objects_v2(Bucket=stack.environment["RATESFLOW_BUCKET"], Prefix="incoming/cut-2")
    assert keys["KeyCount"] == 0


def test_retries_are_printed_as_they_happen(terminal, stack, tmp_path):
    """A killed task is retried, and the retry is printed with the exit code while the batch runs."""
    path = batch(tmp_path / "killed.csv", 99, 20)
    with Signaller(stack, "load", "killed-", signal.SIGKILL, times=1):
        shown = terminal("ingest", str(path))
        text = shown.read()
    assert shown.process.wait(10) == 0, text
    printed = re.search(r"load: attempt 1 failed: .*exit code 137; retrying", text)
    assert printed
    assert printed.start() < text.index("committed, 400,000 rows")


def test_lines_are_plain_without_a_terminal(stack, tmp_path):
    """Without a terminal, whole lines go to standard error, once each, and the outcome to standard output."""
    done = stack.run("ingest", str(batch(tmp_path / "plain.csv", 98)))
    # A step that takes longer than ten seconds has a line with an ellipsis as well.
    lines = [line for line in done.stderr.splitlines() if "…" not in line]
    assert "\x1b" not in done.stderr
    assert [line.split()[0] for line in lines[1:]] == ["upload", "validate", "load", "commit", "notify"]
    assert re.fullmatch(r"committed, 20,000 rows in [\d.]+ s: plain-\w+\n", done.stdout)
