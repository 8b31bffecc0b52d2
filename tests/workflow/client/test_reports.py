"""The summary of a validation report: how many errors it lists, and its unknown ports."""

from ratesflow.workflow.client.reports import extent_of_list, unknown_ports


def test_a_truncated_list_is_named_as_such() -> None:
    """The list is called complete only if every error is listed."""
    report = {"reasons": {"wrong_field_count": 41_943_039, "unknown_port": 1}, "listed_errors": 1_000_000}
    assert extent_of_list(report) == "the first 1,000,000 of 41,943,040 errors"
    assert extent_of_list(report | {"listed_errors": 41_943_040}) == "all errors"


def test_the_most_frequent_unknown_ports_are_named() -> None:
    """The most frequent come first; the rest, in the report or beyond it, is counted."""
    assert unknown_ports({"unknown_ports": {"ZZAAA": 3000, "ZZBBB": 3}}) == "ZZAAA (3,000), ZZBBB (3)"
    many = {f"ZZA{first}{second}": 1 for first in "ABCDE" for second in "ABCDE"}
    assert unknown_ports({"unknown_ports": many, "more_unknown_ports": 7}).endswith("ZZADE (1) and 12 more")
    assert unknown_ports({"unknown_ports": {}, "more_unknown_ports": 0}) == ""
    assert unknown_ports({}) == ""
