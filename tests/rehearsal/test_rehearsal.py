"""A rehearsal from its first line to its report, with the embedded stack in place of AWS and stand-ins for tools."""

from tests.rehearsal.conftest import Rehearsal
from tests.rehearsal.steps import NAMES
from tests.rehearsal.verified import NOT_TRIED

ACCOUNT = "123456789012"
FLIPPED = "flip-compute"
SKIP = ",".join(name for name in NAMES if name.startswith("flip-") and name != FLIPPED)


def test_all_of_it(rehearsal: Rehearsal) -> None:
    """Every step runs in its order and holds, or says why it cannot be done here; nothing of it is left."""
    done = rehearsal.run("--skip", SKIP, code=0, given=f"{ACCOUNT}\n")
    assert done.stdout.startswith("This rehearsal was never run against AWS by its makers.")
    assert all(f"- {each}\n" in done.stdout for each in NOT_TRIED)
    report = rehearsal.report()
    assert report["end"] == "all held"
    print(done.stdout)
