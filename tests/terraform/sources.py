"""Reads Terraform's files with regular expressions; terraform/tests has the tests that need more."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "terraform"


def text(*names: str) -> str:
    """Return the joined text of files in terraform/."""
    return "\n".join((TERRAFORM / name).read_text(encoding="utf-8") for name in names)


def number(name: str, source: str) -> float:
    """Return the number that is assigned to a name, which must occur once."""
    (found,) = re.findall(rf"^\s*{name}\s*=\s*([0-9.]+)\b", source, re.MULTILINE)
    return float(found)


def words(name: str, source: str) -> list[str]:
    """Return the strings of the list that is assigned to a name, which must occur once."""
    (found,) = re.findall(rf"^\s*{name}\s*=\s*\[([^]]*)\]", source, re.MULTILINE)
    return re.findall(r'"([^"]*)"', found)


def keys(name: str, source: str) -> list[str]:
    """Return the keys of the map that is assigned to a name; its closing brace has the name's indentation."""
    (found,) = re.findall(rf"^( *){name}\s*=\s*\{{\n(.*?)^\1\}}", source, re.MULTILINE | re.DOTALL)
    indent, body = found
    return re.findall(rf"^{indent}  ([A-Za-z0-9_-]+)\s*=", body, re.MULTILINE)


def variables() -> set[str]:
    """Return the names of all variables."""
    files = [path.name for path in sorted(TERRAFORM.glob("variables*.tf"))]
    return set(re.findall(r'^variable "(\w+)"', text(*files), re.MULTILINE))
