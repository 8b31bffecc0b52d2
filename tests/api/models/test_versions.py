"""Which lanes a worker considers changed when it advances from one version to another."""

import pytest

from ratesflow.api.models.rates import bucket_of
from ratesflow.api.models.versions import REFERENCE_DATA, LatestVersion, PollResult, Version
from ratesflow.api.resources.parameters import location
from ratesflow.database.lanes import bitmap, bucket

ONE, OTHER = ("CNGGZ", "EETLL"), ("CNSGH", "NLRTM")


def at(orig: str, dest: str) -> int:
    """Return the bucket of a lookup."""
    return bucket_of(location(orig), location(dest))


def advanced(*changes: tuple[int, bytes | None], to: int, since: int = 5) -> LatestVersion:
    """Return a LatestVersion that was at version 5 and polled these changes."""
    latest = LatestVersion()
    latest.adopt(Version("e", 5))
    assert latest.advance(PollResult(Version("e", to), since, list(changes)))
    return latest


def since(latest: LatestVersion, orig: str, dest: str) -> int:
    """Return the version since which the response to a lookup is the same."""
    assert latest.state
    return latest.state.changed[at(orig, dest)]


def test_only_touched_lanes_change() -> None:
    """A change affects its lane, and the lookups between one of its ports and a region; no others."""
    latest = advanced((6, bitmap([ONE])), (7, bitmap([OTHER])), (8, bitmap([])), to=8)
    assert since(latest, *ONE) == since(latest, "CNGGZ", "europe") == since(latest, "china", "EETLL") == 6
    assert since(latest, *OTHER) == since(latest, "china", "NLRTM") == 7
    assert since(latest, "china", "europe") == since(latest, "CNHKG", "baltic") == 5
    assert latest.state
    assert latest.state.changed[REFERENCE_DATA] == 5
    assert latest.state.holds(Version("e", 5), at("china", "europe"))
    assert not latest.state.holds(Version("e", 5), at(*ONE))
    assert not latest.state.holds(Version("f", 8), at(*ONE))
    assert not latest.state.holds(Version("e", 9), at(*ONE))


def test_latest_of_several_changes_counts() -> None:
    """A lane changed with the last version that touched it, also if a version has several batches."""
    latest = advanced((6, bitmap([ONE])), (6, bitmap([OTHER])), (7, bitmap([ONE])), to=7)
    assert (since(latest, *ONE), since(latest, *OTHER)) == (7, 6)


@pytest.mark.parametrize(
    "changes",
    [[(6, bitmap([OTHER])), (8, bitmap([ONE]))], [(6, bitmap([OTHER])), (7, None), (7, b""), (8, bitmap([ONE]))]],
    ids=["missing", "everything"],
)
def test_everything_changes(changes: list[tuple[int, bytes | None]]) -> None:
    """A version whose changes are missing or unknown has changed every lane."""
    latest = advanced(*changes, to=8)
    assert (since(latest, *ONE), since(latest, *OTHER), since(latest, "china", "europe")) == (8, 7, 7)
    assert latest.state
    assert latest.state.changed[REFERENCE_DATA] == 7


def test_too_far_behind() -> None:
    """If the polled changes begin after the worker's version, every lane may have changed before they begin."""
    latest = advanced((8, bitmap([ONE])), to=8, since=7)
    assert (since(latest, *ONE), since(latest, *OTHER)) == (8, 7)


def test_version_never_goes_back() -> None:
    """A poll that returns an older version or an earlier epoch has no effect."""
    latest = advanced((6, bitmap([ONE])), to=6)
    before = latest.state
    assert not latest.advance(PollResult(Version("e", 5), 0, []))
    assert latest.state is before
    assert latest.advance(PollResult(Version("f", 2), 900, []))
    assert latest.state
    assert latest.state.version == Version("f", 2)
    assert since(latest, *ONE) == 2
    assert not latest.advance(PollResult(Version("e", 7), 6, []))


def test_first_poll_returns_past_changes() -> None:
    """After its first poll, a worker has the version of each lane's last change, as far back as the poll goes."""
    latest = LatestVersion()
    assert latest.advance(PollResult(Version("e", 70), 6, [(number, bitmap([ONE])) for number in range(7, 71)]))
    assert (since(latest, *ONE), since(latest, *OTHER)) == (70, 6)


def test_buckets_of_lanes() -> None:
    """Stored lanes have their own bucket; lanes between a port and a region share one per port and direction."""
    assert at(*ONE) == bucket(*ONE)
    assert at("china", "europe") == bucket("china", "europe")
    assert at("CNGGZ", "europe") == bucket("CNGGZ", "*")
    assert at("china", "EETLL") == bucket("*", "EETLL")
