"""Parses a Dockerfile into stages and instructions."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ("api", "loader")


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as RUN, and its arguments on one line."""

    name: str
    rest: str


def stages(image: str) -> list[list[Instruction]]:
    """Return the instructions of each stage of an image's Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / f"Dockerfile.{image}").read_text(), flags=re.M)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, lines)):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, rest.strip()))
    return found


def rest_of(stage: list[Instruction], name: str) -> list[str]:
    """Return the arguments of each instruction with this name."""
    return [instruction.rest for instruction in stage if instruction.name == name]


def copied(stage: list[Instruction]) -> list[str]:
    """Return the paths that a stage copies from the checkout."""
    return [source for rest in rest_of(stage, "COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """Return the variables that a stage sets."""
    return dict(pair.split("=", 1) for rest in rest_of(stage, "ENV") for pair in rest.split())


def exec_form(stage: list[Instruction], name: str) -> list[str]:
    """Return the words of an instruction in exec form. Raises ValueError for the shell form."""
    (rest,) = rest_of(stage, name)
    words = json.loads(rest)
    if not isinstance(words, list):
        raise ValueError(f"{name} {rest} runs in a shell, which does not forward signals")
    return words


def locked(image: str) -> dict[str, int]:
    """Return the packages of an image's lock file with their numbers of hashes."""
    text = (ROOT / f"requirements/{image}.txt").read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==[^\n]*((?:\n {4}--hash=sha256:[0-9a-f]{64}[ \\]*)*)", text, re.M)
    return {name: hashes.count("--hash") for name, hashes in pins}
