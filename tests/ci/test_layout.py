"""The layout of the checkout: small folders and files, which setup.cfg lists."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("ratesflow", "workflow", "loader", "api", "database", "local")
MAX_FILES, MAX_LINES = 16, 300


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
