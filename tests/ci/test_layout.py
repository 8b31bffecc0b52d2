"""The layout of the checkout: small folders and files, and a complete package."""

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("ratesflow", "workflow", "loader", "api", "database", "local")
MAX_FILES, MAX_LINES = 16, 300
# Files of the packages' folders that a package leaves out, with the reason.
LEFT_OUT: dict[str, str] = {
    "api/static/update-uplot": "rewrites files of a checkout",
}
# Files beside the folders that a build reads.
BUILD_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
MAKE_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def python_files() -> list[Path]:
    """Return the Python files of product, benchmarks and tests."""
    return [file for folder in (*PRODUCT, "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")]


def test_folders_have_at_most_16_files() -> None:
    """No folder has more than 16 Python files."""
    files = python_files()
    counts = {folder: sum(file.parent == folder for file in files) for folder in {file.parent for file in files}}
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MAX_FILES}
    assert not crowded


def test_files_have_at_most_300_lines() -> None:
    """No Python file is longer than 300 lines."""
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in python_files()
    }
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_every_folder_is_a_listed_package() -> None:
    """setup.cfg lists exactly the folders of the product that are packages."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = settings["options"]["packages"].split()
    folders = {file.parent.relative_to(ROOT).parts for part in PRODUCT for file in (ROOT / part).rglob("__init__.py")}
    expected = {".".join(parts) if parts == ("ratesflow",) else ".".join(("ratesflow", *parts)) for parts in folders}
    assert sorted(listed) == sorted(expected)


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Return the files of the packages' folders that Git tracks."""
    if not shutil.which("git"):
        pytest.skip("install git (on Debian: apt-get install git)")
    # In a container the checkout may belong to another user.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *PRODUCT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"run this in a checkout: git ls-files failed: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def built(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sdist of a copy of the tracked files, since a build leaves files behind, and the wheel made of it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (*tracked, *BUILD_FILES):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-c", MAKE_SDIST, str(target)], source)
    (sdist,) = target.glob("*.tar.gz")
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", str(sdist)], target)
    (wheel,) = target.glob("*.whl")
    return sdist, wheel


def run(command: list[str], folder: Path) -> None:
    """Run a build in a folder; fail with what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_left_out_exists(tracked: list[str]) -> None:
    """Each file that a package leaves out is one of the checkout, and has a reason."""
    assert set(LEFT_OUT) <= set(tracked)
    assert all(LEFT_OUT.values())


def test_the_wheel_is_whole(tracked: list[str], built: tuple[Path, Path]) -> None:
    """The wheel holds each tracked file of the packages under one import name, the license, and nothing else."""
    expected = {f"ratesflow/{name.removeprefix('ratesflow/')}" for name in tracked if name not in LEFT_OUT}
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if not name.endswith("/")}
    information = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - information == expected
    assert any(name.endswith("/LICENSE") for name in information)


def test_the_sdist_is_whole(tracked: list[str], built: tuple[Path, Path]) -> None:
    """The sdist holds each tracked file of the packages, and what a build reads."""
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    expected = {name for name in tracked if name not in LEFT_OUT} | set(BUILD_FILES)
    made = {"PKG-INFO"}
    assert {name for name in names if not name.startswith("ratesflow.egg-info/")} - made == expected


def test_an_installed_copy_is_found_in_the_root_of_a_checkout(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Without `-P`, Python in a checkout's root runs the packages of the installed wheel."""
    zipfile.ZipFile(built[1]).extractall(tmp_path)
    code = "import ratesflow.loader.dataset as module; print(module.__file__)"
    # Without site-packages, where the editable install is.
    command = [sys.executable, "-S", "-c", code]
    environ = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(tmp_path / "ratesflow" / "loader" / "dataset.py"), done.stderr
