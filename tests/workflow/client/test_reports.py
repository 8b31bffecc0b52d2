"""A validation report in words: how much the list has of what is wrong, and which ports nobody knows."""

from ratesflow.workflow.client.reports import extent_of_list, unknown_ports


def test_a_list_that_is_cut_says_so() -> None:
    """All errors are called all only if each is listed."""
    report = {"reasons": {"wrong_field_count": 41_943_039, "unknown_port": 1}, "listed_errors": 1_000_000}
    assert extent_of_list(report) == "the first 1,000,000 of 41,943,040 errors"
    assert extent_of_list(report | {"listed_errors": 41_943_040}) == "all errors"


def test_unknown_ports_are_named_as_far_as_a_line_goes() -> None:
    """The most frequent stand first; those beyond the line and beyond the report are counted together."""
    assert unknown_ports({"unknown_ports": {"ZZAAA": 3000, "ZZBBB": 3}}) == "ZZAAA (3,000), ZZBBB (3)"
    many = {f"ZZA{first}{second}": 1 for first in "ABCDE" for second in "ABCDE"}
    assert unknown_ports({"unknown_ports": many, "more_unknown_ports": 7}).endswith("ZZADE (1) and 12 more")
    assert unknown_ports({"unknown_ports": {}, "more_unknown_ports": 0}) == ""
    assert unknown_ports({}) == ""
