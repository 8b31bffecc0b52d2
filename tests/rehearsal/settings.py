"""Reads the values of a variables file and Terraform's defaults, with regular expressions."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TERRAFORM = ROOT / "terraform"
_SET = re.compile(r"^(\w+) *= *(.*?) *(?:#.*)?$", re.M)


def file_of(workspace: str) -> Path:
    """Return the variables file of an environment."""
    return TERRAFORM / "environments" / f"{workspace}.tfvars"


def defaults() -> dict[str, str]:
    """Return Terraform's variables and their defaults as written, without quotes; empty without a default."""
    found = {}
    for path in sorted(TERRAFORM.glob("variables*.tf")):
        for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text(encoding="utf-8"), re.M | re.S):
            default = re.search(r"^  default +=(.*)$", body, re.M)
            found[name] = default[1].strip().strip('"') if default else ""
    return found


def values_of(workspace: str) -> dict[str, str]:
    """Return every variable with its value in an environment."""
    given = dict(_SET.findall(file_of(workspace).read_text(encoding="utf-8")))
    return defaults() | {name: value.strip('"') for name, value in given.items()}
