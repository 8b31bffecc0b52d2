"""What the summary prints for a skipped test says what to do, so that it runs the next time."""

import ast
from collections.abc import Iterator

import pytest

from tests.ci.pipeline import ROOT

TODO = ("build", "install", "run", "set")
# A reason that is worked out elsewhere: what an environment cannot do is not to be installed.
ELSEWHERE = {"tests/rehearsal/tests/test_with_terraform.py"}


def reasons() -> Iterator[tuple[str, str | None]]:
    """Return the file and the reason of each skip in the tests; None where it is not a literal."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("skip", "skipif", "importorskip") and ast.unparse(node.func).startswith("pytest."):
                named = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                found = named or (node.args[:1] if node.func.attr == "skip" else [])
                yield path.relative_to(ROOT).as_posix(), literal(found[0]) if found else None


def literal(node: ast.expr) -> str | None:
    """Return the text that a string begins with; None for other expressions."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return literal(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


FOUND = [pytest.param(*each, id=each[0]) for each in reasons() if each[0] not in ELSEWHERE]


def test_skips_are_found() -> None:
    """The tests of browsers, Terraform and images have skips."""
    assert len(FOUND) > 10


@pytest.mark.parametrize(("file", "reason"), FOUND)
def test_a_reason_says_what_to_do(file: str, reason: str | None) -> None:
    """Each begins with a verb: what to install, build, set or run."""
    assert reason
    assert reason.split()[0] in TODO, f"{file}: {reason}"
