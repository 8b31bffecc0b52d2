"""Which lanes a worker considers changed when it moves from one version to another."""

import pytest

from ratesflow.api.models.rates import bucket_of
from ratesflow.api.models.versions import REFERENCE_DATA, LatestVersion, PollResult, Version
from ratesflow.api.resources.parameters import location
from ratesflow.database.lanes import bitmap, bucket

ONE, OTHER = ("CNGGZ", "EETLL"), ("CNSGH", "NLRTM")


def at(orig: str, dest: str) -> int:
    """Return the bucket of a lookup."""
    return bucket_of(location(orig), location(dest))


def moved(*changes: tuple[int, bytes | None], to: int, since: int = 5) -> LatestVersion:
    """Return a LatestVersion that was at version 5 and has received these changes."""
    newest = LatestVersion()
    newest.adopt(Version("e", 5))
    assert newest.advance(PollResult(Version("e", to), since, list(changes)))
    return newest


def since(newest: LatestVersion, orig: str, dest: str) -> int:
    """Return the version since which a lookup's answer is the same."""
    assert newest.state
    return newest.state.changed[at(orig, dest)]


def test_only_touched_lanes_change() -> None:
    """A version changes the lanes that it touches, and those between their ends and regions, and no others."""
    newest = moved((6, bitmap([ONE])), (7, bitmap([OTHER])), (8, bitmap([])), to=8)
    assert since(newest, *ONE) == since(newest, "CNGGZ", "europe") == since(newest, "china", "EETLL") == 6
    assert since(newest, *OTHER) == since(newest, "china", "NLRTM") == 7
    assert since(newest, "china", "europe") == since(newest, "CNHKG", "baltic") == 5
    assert newest.state
    assert newest.state.changed[REFERENCE_DATA] == 5
    assert newest.state.holds(Version("e", 5), at("china", "europe"))
    assert not newest.state.holds(Version("e", 5), at(*ONE))
    assert not newest.state.holds(Version("f", 8), at(*ONE))
    assert not newest.state.holds(Version("e", 9), at(*ONE))


def test_last_of_several_changes_counts() -> None:
    """If several versions touch a lane, or one version has two batches, the last version counts."""
    newest = moved((6, bitmap([ONE])), (6, bitmap([OTHER])), (7, bitmap([ONE])), to=7)
    assert (since(newest, *ONE), since(newest, *OTHER)) == (7, 6)


@pytest.mark.parametrize(
    "changes",
    [[(6, bitmap([OTHER])), (8, bitmap([ONE]))], [(6, bitmap([OTHER])), (7, None), (7, b""), (8, bitmap([ONE]))]],
    ids=["missing", "everything"],
)
def test_everything_changes(changes: list[tuple[int, bytes | None]]) -> None:
    """A version that is missing, or whose changes are unknown, counts as a change of everything."""
    newest = moved(*changes, to=8)
    assert (since(newest, *ONE), since(newest, *OTHER), since(newest, "china", "europe")) == (8, 7, 7)
    assert newest.state
    assert newest.state.changed[REFERENCE_DATA] == 7


def test_too_far_behind() -> None:
    """If the received changes begin after the worker's version, everything before may have changed."""
    newest = moved((8, bitmap([ONE])), to=8, since=7)
    assert (since(newest, *ONE), since(newest, *OTHER)) == (8, 7)


def test_never_back() -> None:
    """PollResult of an older version, or of an epoch that was left, change nothing."""
    newest = moved((6, bitmap([ONE])), to=6)
    before = newest.state
    assert not newest.advance(PollResult(Version("e", 5), 0, []))
    assert newest.state is before
    assert newest.advance(PollResult(Version("f", 2), 900, []))
    assert newest.state
    assert newest.state.version == Version("f", 2)
    assert since(newest, *ONE) == 2
    assert not newest.advance(PollResult(Version("e", 7), 6, []))


def test_first_news_include_past_changes() -> None:
    """A new worker knows since when lanes are unchanged, as far back as its first news reach."""
    newest = LatestVersion()
    assert newest.advance(PollResult(Version("e", 70), 6, [(number, bitmap([ONE])) for number in range(7, 71)]))
    assert (since(newest, *ONE), since(newest, *OTHER)) == (70, 6)


def test_buckets_of_lanes() -> None:
    """Stored lanes have their own bucket; lanes between a port and a region share one per port and direction."""
    assert at(*ONE) == bucket(*ONE)
    assert at("china", "europe") == bucket("china", "europe")
    assert at("CNGGZ", "europe") == bucket("CNGGZ", "*")
    assert at("china", "EETLL") == bucket("*", "EETLL")
