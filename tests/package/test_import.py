"""Importing the package is quick and changes nothing in the process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_MODULES = 60  # most of them are imported by pkgutil


def run(code: str, folder: Path) -> str:
    """Return what a new Python process prints; it has no site-packages, whose .pth files import modules."""
    command = [sys.executable, "-S", "-P", "-c", code]
    environ = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_an_import_is_small(tmp_path: Path) -> None:
    """`import ratesflow` imports a few modules of the standard library, and nothing else."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import ratesflow; print(*sorted(set(sys.modules) - before))"
    )  # fmt: skip
    found = run(code, tmp_path).split()
    assert len(found) <= MOST_MODULES
    assert {name.partition(".")[0] for name in found} - sys.stdlib_module_names == {"ratesflow"}


def test_an_import_changes_nothing(tmp_path: Path) -> None:
    """`import ratesflow` leaves hooks, loggers, signals, warnings and the environment unchanged."""
    code = (
        "import logging, os, signal, sys, threading, warnings\n"
        "def state():\n"
        "    return (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.stdout, sys.stderr,\n"
        "            logging.getLogger().level, list(logging.getLogger().handlers), list(warnings.filters),\n"
        "            [signal.getsignal(each) for each in sorted(signal.valid_signals())], dict(os.environ))\n"
        "before = state()\n"
        "import ratesflow\n"
        "print(state() == before)"
    )
    assert run(code, tmp_path) == "True\n"
