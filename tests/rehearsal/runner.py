"""Runs commands as a user would type them, and records them with their output in a transcript."""

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.rehearsal import signals
from tests.rehearsal.signals import AbortedRehearsal, InterruptedRehearsal

HIDDEN = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN")
SECRET_LENGTH = 16  # shorter values are not secrets but placeholders of stand-ins
TAIL = 15


class CommandError(Exception):
    """A command ended with an unexpected exit code; the message has its last lines."""


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    code: int
    out: str
    seconds: float


class Runner:
    """Starts processes in their own sessions, so that Ctrl-C reaches them only through `run`, once.

    Terraform finishes running operations and keeps the state at one SIGINT, and aborts at a second one.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], print_line: Callable[[str], None], cwd: Path) -> None:
        self._file = (folder / "transcript.log").open("a", encoding="utf-8")
        self._environ = dict(environ)
        self._hidden = [environ[name] for name in HIDDEN if len(environ.get(name, "")) >= SECRET_LENGTH]
        self._print_line = print_line
        self._cwd = cwd
        self._lock = threading.Lock()
        self._background: set[subprocess.Popen[str]] = set()

    @property
    def path(self) -> str:
        """The search path of commands."""
        return self._environ["PATH"]

    def given(self, name: str, default: str = "") -> str:
        """Return an environment variable of the commands."""
        return self._environ.get(name) or default

    def run(
        self,
        *command: str,
        codes: tuple[int, ...] = (0,),
        given: str | None = None,
        secret: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command to its end. `given` is its input, which is not recorded; nor is the output of a `secret` one.

        Raises CommandError for an exit code that is not in `codes`. At an interruption the command gets one SIGINT
        and is waited for.
        """
        begun = time.monotonic()
        self._note(f"$ {shlex.join(command)}")
        in_front = threading.current_thread() is threading.main_thread()
        if in_front:
            signals.hold()  # until the wait for the process
        try:
            process = subprocess.Popen(
                [self._path_of(command[0]), *command[1:]],
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                cwd=self._cwd,
                env=self._environ | dict(extra or {}),
            )
        except OSError as error:
            if in_front:
                signals.release()
            raise CommandError(f"{command[0]} cannot be run: {error.strerror or error}") from error
        out, err = self._wait(process, given, command[0]) if in_front else self._wait_in_thread(process, given)
        done = Done(process.returncode, out, time.monotonic() - begun)
        self._note("(not recorded)" if secret else out, err, f"= {done.code} after {done.seconds:.1f} s")
        if done.code not in codes:
            last = "\n".join((err or ("" if secret else out)).strip().splitlines()[-TAIL:])
            raise CommandError(f"{shlex.join(command)} ended with exit code {done.code}:\n{self._shown(last)}")
        return done

    def _path_of(self, name: str) -> str:
        return shutil.which(name, path=self.path) or name

    def _wait_in_thread(self, process: "subprocess.Popen[str]", given: str | None) -> tuple[str, str]:
        with self._lock:
            self._background.add(process)
        try:
            return process.communicate(given)
        finally:
            with self._lock:
                self._background.discard(process)

    def _wait(self, process: "subprocess.Popen[str]", given: str | None, name: str) -> tuple[str, str]:
        try:
            return self._wait_interruptibly(process, given, name)
        except AbortedRehearsal:
            self._print_line(f"{name} (process {process.pid}) is still running: wait until it has ended.")
            raise

    def _wait_interruptibly(self, process: "subprocess.Popen[str]", given: str | None, name: str) -> tuple[str, str]:
        """Wait for a process; at an interruption send it one SIGINT, and let it end by itself."""
        try:
            signals.release()
            return process.communicate(given)
        except InterruptedRehearsal:
            self._print_line(f"Interrupted: waiting for {name} (process {process.pid}) to end …")
            process.send_signal(signal.SIGINT)
            self._note(*process.communicate(), f"= {process.returncode}, interrupted")
            raise

    def interrupt_others(self) -> None:
        """Interrupt the commands of other threads."""
        with self._lock:
            for process in self._background:
                process.send_signal(signal.SIGINT)

    def _note(self, *texts: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock, suppress(OSError):  # a full disk must not prevent the clean-up
            for line in (line for text in texts for line in text.splitlines()):
                self._file.write(f"{moment} {self._shown(line)}\n")
            self._file.flush()

    def _shown(self, text: str) -> str:
        for value in self._hidden:
            text = text.replace(value, "***")
        return text


def environment_of(region: str, python: Path) -> dict[str, str]:
    """Return the environment of commands: the user's, the region, and the project's tools at the end of PATH."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("RATESFLOW_")}
    return given | {
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_PAGER": "",
        "TF_VAR_region": region,
        "TF_IN_AUTOMATION": "true",
        "TF_INPUT": "false",
        "PATH": f"{os.environ.get('PATH', '')}{os.pathsep}{python.parent}",
    }
