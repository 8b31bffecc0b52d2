"""The sdist holds the whole checkout, the wheel the whole product and its metadata."""

import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.package.metadata import EXTRAS, ROOT

PRODUCT = ("ratesflow", "workflow", "loader", "api", "database", "local")
# Files of the product that the wheel leaves out, with the reason.
LEFT_OUT: dict[str, str] = {
    "api/static/update-uplot": "rewrites files of a checkout",
}
# Files of the sdist that setuptools makes.
GENERATED = "ratesflow.egg-info/"


@pytest.fixture
def metadata(built: tuple[Path, Path]) -> Message:
    """Return the metadata of the wheel."""
    archive = zipfile.ZipFile(built[1])
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(archive.read(name).decode())


def test_what_is_left_out_exists(tracked: list[str]) -> None:
    """Each file that the wheel leaves out is one of the checkout, and has a reason."""
    assert set(LEFT_OUT) <= set(tracked)
    assert all(LEFT_OUT.values())


def test_the_wheel_is_whole(tracked: list[str], built: tuple[Path, Path]) -> None:
    """The wheel holds each tracked file of the packages under one import name, the license, and nothing else."""
    product = [name for name in tracked if name.partition("/")[0] in PRODUCT and name not in LEFT_OUT]
    expected = {f"ratesflow/{name.removeprefix('ratesflow/')}" for name in product}
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if not name.endswith("/")}
    information = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - information == expected
    assert any(name.endswith("/LICENSE") for name in information)
    assert "ratesflow/py.typed" in names


def test_the_sdist_is_whole(tracked: list[str], built: tuple[Path, Path]) -> None:
    """The sdist holds each tracked file, and nothing else but its metadata."""
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert {name for name in names if not name.startswith(GENERATED)} - {"PKG-INFO"} == set(tracked)


def test_the_metadata_are_complete(metadata: Message) -> None:
    """The wheel names its license, authors, Python versions and README, and that it has types."""
    assert (metadata["Name"], metadata["License"]) == ("ratesflow", "Apache-2.0")
    assert metadata["Author"] == "ratesflow maintainers"
    assert metadata["Summary"]
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert str(metadata.get_payload()).strip().startswith("# ratesflow")


def test_the_wheel_has_the_extras(metadata: Message) -> None:
    """The wheel offers each extra of setup.cfg, and needs nothing without an extra."""
    assert set(metadata.get_all("Provides-Extra", [])) == set(EXTRAS)
    assert [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each] == []


def test_the_command_can_print_which_extra_it_needs(built: tuple[Path, Path]) -> None:
    """The command starts in a module that imports nothing but the standard library."""
    archive = zipfile.ZipFile(built[1])
    (name,) = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
    assert "ratesflow = ratesflow.__main__:main" in archive.read(name).decode()


def test_an_installed_copy_is_found_in_the_root_of_a_checkout(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Without `-P`, Python in a checkout's root runs the packages of the installed wheel."""
    zipfile.ZipFile(built[1]).extractall(tmp_path)
    code = "import ratesflow.loader.dataset as module; print(module.__file__)"
    # Without site-packages, where the editable install is.
    command = [sys.executable, "-S", "-c", code]
    environ = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(tmp_path / "ratesflow" / "loader" / "dataset.py"), done.stderr
