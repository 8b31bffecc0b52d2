"""Links in documents resolve, and the files, tests and folders that documents name exist."""

import configparser
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("docs", "benchmarks", "terraform", "tests")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if "node_modules" not in path.parts
)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as on GitHub and GitLab."""
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each) for each in re.findall(r"^#+ (.+)$", prose(page), re.M)]
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pages
def test_relative_links_resolve(page: Path) -> None:
    """Each link to a file or heading of this repository resolves."""
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.is_relative_to(ROOT) or not found.exists() or (anchor and anchor not in anchors(found)):
            missing.append(target)
    assert missing == []


@lru_cache(maxsize=1)
def code() -> str:
    """Return the text of all code, with Terraform's."""
    folders = ("api", "benchmarks", "database", "loader", "local", "ratesflow", "terraform", "tests", "workflow")
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".tf", ".hcl"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    """Each file or folder of this repository that a page names exists; NAME and NNNN stand for any."""
    parts = "api|benchmarks|database|docs|loader|local|ratesflow|requirements|terraform|tests|workflow"
    named = re.findall(rf"`((?:{parts})/[\w./*-]*)`", prose(page))
    missing = [name for name in named if not re.search("NAME|NNNN", name) and not list(ROOT.glob(name.rstrip("/")))]
    assert missing == []


@pages
def test_settings_that_are_named_exist(page: Path) -> None:
    """Each variable of the environment that a page names is one that the code reads or sets."""
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"\bRATESFLOW_\w+", text)) | set(re.findall(r"\bTF_VAR_(\w+)", text))
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code())] == []


@pages
def test_modules_that_are_named_exist(page: Path) -> None:
    """Each module of this repository that a page runs by `python -m` exists."""
    for name in re.findall(r"python -m ((?:ratesflow|tests|benchmarks)[\w.]*)", page.read_text(encoding="utf-8")):
        path = ROOT / name.removeprefix("ratesflow.").replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name


@pages
def test_named_tests_exist(page: Path) -> None:
    """Each test that a page names as `tests/….py`, with a function or without, exists."""
    for path, function in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", prose(page)):
        assert (ROOT / path).is_file(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), function


def test_index_links_every_page() -> None:
    """docs/index.md links every other page in docs/."""
    linked = set(re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs/index.md").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages <= linked


def test_table_of_folders_is_complete() -> None:
    """The table in docs/architecture.md has each package down to the second level and each top folder; all exist."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w/]+)/` \|", text, re.M))
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    packages = {
        name.removeprefix("ratesflow.").replace(".", "/") for name in settings["options"]["packages"].split()
    } - {"ratesflow"}
    assert {name for name in packages if name.count("/") < 2} <= named
    assert {"terraform", "benchmarks", "tests"} <= named
    assert [name for name in named if not (ROOT / name).is_dir()] == []


def test_named_measures_have_a_figure() -> None:
    """Each measure that docs/benchmarks.md or a decision names has a result."""
    results = (ROOT / "benchmarks/results/results.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs/benchmarks.md", *(ROOT / "docs/decisions").glob("*.md")):
        for name in re.findall(r"`((?:api|load|commit|peak|reader|read|undo|tree|two|region)_\w+)`", prose(page)):
            assert name in ("read_csv",) or f"`{name}`" in results, f"{page.name}: {name}"
