"""The sdist and the wheel of this checkout, built once."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.metadata import ROOT

MAKE_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


@pytest.fixture(scope="session")
def tracked() -> list[str]:
    """Return the files that Git tracks."""
    if not shutil.which("git"):
        pytest.skip("install git (on Debian: apt-get install git)")
    # In a container the checkout may belong to another user.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"run this in a checkout: git ls-files failed: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sdist of a copy of the tracked files, since a build leaves files behind, and the wheel made of it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    _run([sys.executable, "-c", MAKE_SDIST, str(target)], source)
    (sdist,) = target.glob("*.tar.gz")
    _run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", str(sdist)], target)
    (wheel,) = target.glob("*.whl")
    return sdist, wheel


def _run(command: list[str], folder: Path) -> None:
    """Run a build in a folder; fail with what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
