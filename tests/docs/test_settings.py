"""docs/settings.md has every environment variable that the code reads, with its default, and no other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ratesflow.loader.files import limits
from ratesflow.loader.tasks.gc import LOST_AFTER
from ratesflow.workflow.client.environment import DEFAULT_HOME, LOCAL_ONLY, NEEDED, OPTIONAL

ROOT = Path(__file__).parents[2]
PARTS = ("api", "loader", "workflow", "local", "database", "ratesflow")
OURS = re.compile(r"(?:RATESFLOW|DATABASE)_[A-Z_]*[A-Z]")
# What the embedded AWS passes on to its jobs and to moto, and what configures no part of the product.
NOT_SETTINGS = {"PATH", "MOTO_PORT", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"}
UNSET = {"", "none", "None"}  # in the code, for a variable without a default


class Row(NamedTuple):
    """A row of the page, with its section."""

    section: str
    name: str
    default: str
    unit: str
    meaning: str
    terraform: str


def rows() -> list[Row]:
    """Return all rows of the page."""
    found = []
    for section in (ROOT / "docs/settings.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.partition("\n")[0]
        for line in re.findall(r"^\| (`.+) \|$", section, re.M):
            found.append(Row(title, *(cell.strip().replace("`", "") for cell in line.split("|"))))
    return found


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module of the product."""
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def text_of(node: ast.AST, constants: dict[str, str]) -> str | None:
    """Return the text of a constant, or of a name that stands for one in the same module."""
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def constants_of(tree: ast.Module) -> dict[str, str]:
    """Return the names of a module that stand for a text."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def read_names() -> set[str]:
    """Return the variables in the code: every text that looks like one of ours, and every key of os.environ."""
    found = set()
    for _, tree in trees():
        constants = constants_of(tree)
        for node in ast.walk(tree):
            if (text := text_of(node, {})) and OURS.fullmatch(text):
                found.add(text)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "setting"):
                found |= {text for each in node.args if (text := text_of(each, constants)) and text.isupper()}
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                found |= {text for text in [text_of(node.slice, constants)] if text}
    return found - NOT_SETTINGS


def defaults() -> dict[str, set[str]]:
    """Return the defaults in calls such as `setting(environ, NAME, 2, int)` and `get(NAME, "1")`, and after `or`."""
    found: dict[str, set[str]] = defaultdict(set)
    for _, tree in trees():
        constants = constants_of(tree)
        for node in ast.walk(tree):
            variable, default = _read_with_default(node)
            name = text_of(variable, constants) if variable else None
            if name and isinstance(default, ast.Constant):
                value = default.value
                found[name].add(f"{value:g}" if isinstance(value, float) else str(value))
    return found


def _read_with_default(node: ast.AST) -> tuple[ast.expr | None, ast.expr | None]:
    """Return the name and the default in an expression that reads a variable, None for what it lacks."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return _read_with_default(node.values[0])[0], node.values[1]
    if not isinstance(node, ast.Call):
        return None, None
    function = ast.unparse(node.func)
    arguments = node.args[function == "setting" :]
    if function != "setting" and not function.endswith(("environ.get", "settings.get")):
        return None, None
    return arguments[0], arguments[1] if len(arguments) > 1 else None


def test_every_variable_has_a_row() -> None:
    """The page has exactly the variables that the code reads, and the addresses that `ratesflow env` prints."""
    assert {row.name for row in rows()} == read_names() | {*NEEDED, *LOCAL_ONLY, *OPTIONAL}
    assert len({(row.section, row.name) for row in rows()}) == len(rows())


def test_sections_of_the_environment() -> None:
    """The addresses of a stack have the sections of the tables in workflow/client/environment.py."""
    sections = defaultdict(set)
    for row in rows():
        sections[row.section].add(row.name)
    assert sections["Command line"] - {"RATESFLOW_ENV", "RATESFLOW_HOME"} == {*NEEDED, *OPTIONAL}
    assert sections["Embedded stack"] - {"RATESFLOW_NOTIFICATIONS_QUEUE_URL"} == {*LOCAL_ONLY}


def test_defaults() -> None:
    """Each default that the code has is on the page."""
    shown = {row.name: row.default for row in rows() if row.section not in ("Command line", "Embedded stack")}
    readable = {name: each for name, each in defaults().items() if name in shown and each - UNSET}
    assert len(readable) > 18
    wrong = {name: (shown[name], each) for name, each in readable.items() if {shown[name]} != each - UNSET}
    assert not wrong


def test_computed_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults that the code computes are on the page."""
    shown = {row.name: row.default for row in rows()}
    for name in ("RATESFLOW_MAX_COMPRESSION_RATIO", "RATESFLOW_MAX_UNCOMPRESSED_BYTES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RATESFLOW_MAX_ROW_GROUP_BYTES", raising=False)
    assert int(shown["RATESFLOW_MAX_COMPRESSION_RATIO"]) == limits.max_text(10 * limits.MIB) / (10 * limits.MIB)
    assert int(shown["RATESFLOW_MAX_UNCOMPRESSED_BYTES"]) == limits.max_text(1 << 60)
    assert int(shown["RATESFLOW_MAX_ROW_GROUP_BYTES"]) == limits.max_row_group()
    assert float(shown["RATESFLOW_RETRIGGER_AFTER_MINUTES"]) * 60 == LOST_AFTER.total_seconds()
    assert shown["RATESFLOW_HOME"] == str(DEFAULT_HOME)


def test_units() -> None:
    """A variable whose name ends in a unit has that unit on the page."""
    names = {"SECONDS": "seconds", "MINUTES": "minutes", "BYTES": "bytes", "MB": "megabytes"}
    for row in rows():
        if unit := names.get(row.name.rpartition("_")[2]):
            assert row.unit == unit, row.name


def test_terraform_sets_what_the_page_says() -> None:
    """The last column has the files of Terraform that set a variable, and the variables of Terraform they use."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "terraform").glob("*.tf")}
    variables = set(re.findall(r'^variable "(\w+)"', "\n".join(texts.values()), re.M))
    names = {row.name for row in rows()} - {"AWS_DEFAULT_REGION"}  # it configures boto3
    stated = {(row.name, file) for row in rows() for file in re.findall(r"\w+\.tf", row.terraform)}
    assert stated - {(row.name, "parameters.tf") for row in rows()} == {
        (name, file)
        for file, text in texts.items()
        for name in re.findall(r"(?:^ *|\{ )([A-Z]\w+) += ", text, re.M) + re.findall(r'name = "([A-Z]\w+)"', text)
        if name in names
    }
    for name, file in stated:
        if file == "parameters.tf":
            assert f"    {name.removeprefix('RATESFLOW_').lower().replace('_', '-')} " in texts[file]
    for row in rows():
        assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", row.terraform)) <= variables, row.name
