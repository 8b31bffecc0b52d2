"""Runs commands as a person would type them, and writes them down with their output in a transcript."""

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
from tests.rehearsal.signals import InterruptedRehearsal, LeftRehearsal

HIDDEN = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN")
SECRET_SIGNS = 16  # a shorter one is a word of a stand-in
TAIL = 15


class CommandError(Exception):
    """A command ended with an exit code that was not expected; the text has its last lines."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    seconds: float


class Runner:
    """Starts processes in sessions of their own, so that Ctrl-C reaches them only through `run`, once.

    Terraform takes one SIGINT as "finish what is under way and keep the state", and a second one as "leave at once".
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], say: Callable[[str], None], cwd: Path) -> None:
        self._file = (folder / "transcript.log").open("a", encoding="utf-8")
        self._environ = dict(environ)
        self._hidden = [environ[name] for name in HIDDEN if len(environ.get(name, "")) >= SECRET_SIGNS]
        self._say = say
        self._cwd = cwd
        self._lock = threading.Lock()
        self._aside: set[subprocess.Popen[str]] = set()

    @property
    def path(self) -> str:
        """Where commands are looked for."""
        return self._environ["PATH"]

    def given(self, name: str, default: str = "") -> str:
        """Return a variable that commands get."""
        return self._environ.get(name) or default

    def run(
        self,
        *command: str,
        codes: tuple[int, ...] = (0,),
        given: str | None = None,
        secret: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command to its end. `given` goes to its input and is not written down; nor is a secret output.

        Raises CommandError for an exit code that is not among `codes`. At an interruption the command is told once,
        and waited for.
        """
        begun = time.monotonic()
        self._note(f"$ {shlex.join(command)}")
        in_front = threading.current_thread() is threading.main_thread()
        if in_front:
            signals.hold()  # until the process is waited for
        try:
            process = subprocess.Popen(
                [self._place(command[0]), *command[1:]],
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
        out, err = self._ended(process, given, command[0]) if in_front else self._ended_aside(process, given)
        done = Done(process.returncode, out, time.monotonic() - begun)
        self._note("(not written down)" if secret else out, err, f"= {done.code} after {done.seconds:.1f} s")
        if done.code not in codes:
            last = "\n".join((err or ("" if secret else out)).strip().splitlines()[-TAIL:])
            raise CommandError(f"{shlex.join(command)} ended with exit code {done.code}:\n{self._shown(last)}")
        return done

    def _place(self, name: str) -> str:
        return shutil.which(name, path=self.path) or name

    def _ended_aside(self, process: "subprocess.Popen[str]", given: str | None) -> tuple[str, str]:
        with self._lock:
            self._aside.add(process)
        try:
            return process.communicate(given)
        finally:
            with self._lock:
                self._aside.discard(process)

    def _ended(self, process: "subprocess.Popen[str]", given: str | None, name: str) -> tuple[str, str]:
        try:
            return self._in_order(process, given, name)
        except LeftRehearsal:
            self._say(f"{name} (process {process.pid}) still runs: let it end before anything else.")
            raise

    def _in_order(self, process: "subprocess.Popen[str]", given: str | None, name: str) -> tuple[str, str]:
        """Wait for a process; at an interruption tell it once, and let it end by itself."""
        try:
            signals.release()
            return process.communicate(given)
        except InterruptedRehearsal:
            self._say(f"Interrupted: waiting for {name} (process {process.pid}) to end in order …")
            process.send_signal(signal.SIGINT)
            self._note(*process.communicate(), f"= {process.returncode}, interrupted")
            raise

    def interrupt_others(self) -> None:
        """Interrupt what other threads are running."""
        with self._lock:
            for process in self._aside:
                process.send_signal(signal.SIGINT)

    def _note(self, *texts: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock, suppress(OSError):  # a full disk must not keep anything from being taken away
            for line in (line for text in texts for line in text.splitlines()):
                self._file.write(f"{moment} {self._shown(line)}\n")
            self._file.flush()

    def _shown(self, text: str) -> str:
        for value in self._hidden:
            text = text.replace(value, "***")
        return text


def environment_of(region: str, python: Path) -> dict[str, str]:
    """Return the variables for commands: the person's own, the region, and the project's tools behind their own."""
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
