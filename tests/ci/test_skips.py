"""The reason of each skipped test, which the summary prints, starts with what to do so that the test runs."""

import ast
from collections.abc import Iterator

import pytest

from tests.ci.pipeline import ROOT

VERBS = ("build", "install", "run", "set")
# Files whose reasons are computed.
COMPUTED = {"tests/rehearsal/tests/test_with_terraform.py"}


def reasons() -> Iterator[tuple[str, str | None]]:
    """Return the file and the reason of each skip in the tests; None if it is not a literal."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("skip", "skipif", "importorskip") and ast.unparse(node.func).startswith("pytest."):
                named = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                found = named or (node.args[:1] if node.func.attr == "skip" else [])
                yield path.relative_to(ROOT).as_posix(), literal(found[0]) if found else None


def literal(node: ast.expr) -> str | None:
    """Return a string, or the beginning of an f-string; None for other expressions."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return literal(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


FOUND = [pytest.param(*each, id=each[0]) for each in reasons() if each[0] not in COMPUTED]


def test_skips_are_found() -> None:
    """The search finds the skips of the tests of browsers, Terraform and images."""
    assert len(FOUND) > 10


@pytest.mark.parametrize(("file", "reason"), FOUND)
def test_reason_starts_with_what_to_do(file: str, reason: str | None) -> None:
    """Each reason starts with a verb: install, build, set or run."""
    assert reason
    assert reason.split()[0] in VERBS, f"{file}: {reason}"
