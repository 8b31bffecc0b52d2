"""Ends, stops and slows the tasks of a batch from their first line on."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from ratesflow.local.aws.batch import warm_start
from tests.local.conftest import Stack
from tests.local.process_control import runs, signal_to, tasks_of


@contextmanager
def slow_motion(
    stack: Stack, batch: str, runs: float = 0.03, rests: float = 0.15, observed: threading.Event | None = None
) -> Iterator[None]:
    """Let validate and load of a batch run for `runs` seconds at a time, with pauses between.

    A pause lasts `rests` seconds, or, with `observed`, until the observer sets that event: however busy the
    machine is, the observer then sees the tasks many times before they end.
    """
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            tasks = [*validating.signalled.values(), *loading.signalled.values()]
            signal_to(tasks, signal.SIGCONT)
            over.wait(runs if tasks else 0.01)
            signal_to(tasks, signal.SIGSTOP)
            if observed is None or not tasks:
                over.wait(rests if tasks else 0)
                continue
            observed.clear()
            while not over.is_set() and not observed.wait(0.05):
                pass

    with (
        Signaller(stack, "validate", batch, signal.SIGSTOP) as validating,
        Signaller(stack, "load", batch, signal.SIGSTOP) as loading,
    ):
        thread = threading.Thread(target=alternate)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
    signal_to([*validating.signalled.values(), *loading.signalled.values()], signal.SIGCONT)


@contextmanager
def cold_starts(stack: Stack) -> Iterator[None]:
    """Let each task that starts meanwhile be a new interpreter, as on AWS."""
    switch = stack.home / "aws" / warm_start.SWITCH
    switch.touch()
    try:
        yield
    finally:
        switch.unlink(missing_ok=True)


class Signaller:
    """Sends a signal once to each process of a task of a batch, at most `times` times; new ones have not begun yet."""

    def __init__(self, stack: Stack, task: str, batch: str, number: signal.Signals, times: int = 1000) -> None:
        self._stack, self._home, self._task, self._batch = stack, stack.home, task, batch
        self._number, self._remaining = number, times
        self.signalled: dict[int, psutil.Process] = {}

    def __enter__(self) -> "Signaller":
        _Holder.add(self._home, self)
        for process in tasks_of(self._stack, self._task, self._batch):
            self._signal(process)
        return self

    def __exit__(self, *_: object) -> None:
        _Holder.remove(self._home, self)

    def check(self, pid: int, command: list[str]) -> None:
        """Signal a process that has just started, if it is one of these."""
        with suppress(psutil.NoSuchProcess):  # it was killed meanwhile
            if runs(command, self._task, self._batch):
                self._signal(psutil.Process(pid))

    def _signal(self, process: psutil.Process) -> None:
        with suppress(psutil.NoSuchProcess):
            if self._remaining > 0 and process.pid not in self.signalled:
                process.send_signal(self._number)
                self.signalled[process.pid] = process
                self._remaining -= 1


class _Holder(threading.Thread):
    """Holds each new task of a stack until all its signallers have seen it."""

    _of: ClassVar[dict[Path, "_Holder"]] = {}
    _lock = threading.Lock()

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self._folder = home / "aws" / warm_start.HELD
        self._signallers: list[Signaller] = []
        self._end = threading.Event()
        self._folder.mkdir()

    @classmethod
    def add(cls, home: Path, signaller: Signaller) -> None:
        """Let a signaller see the tasks that start from now on."""
        with cls._lock:
            if is_first := home not in cls._of:
                cls._of[home] = cls(home)
            cls._of[home]._signallers.append(signaller)
            if is_first:
                cls._of[home].start()

    @classmethod
    def remove(cls, home: Path, signaller: Signaller) -> None:
        """Let no signaller see further tasks; after the last one, tasks start freely again."""
        with cls._lock:
            holder = cls._of[home]
            holder._signallers.remove(signaller)
            if holder._signallers:
                return
            del cls._of[home]
        holder._end.set()
        holder.join()
        over = holder._folder.rename(holder._folder.with_suffix(f".{time.monotonic_ns()}"))  # frees who waits there
        shutil.rmtree(over)

    def run(self) -> None:
        """Show each held task to the signallers, and let it go."""
        while not self._end.wait(0.01):
            for file in self._folder.iterdir():
                if file.name.isdigit():
                    for signaller in list(self._signallers):
                        signaller.check(int(file.name), file.read_text().split("\n"))
                    file.unlink()
