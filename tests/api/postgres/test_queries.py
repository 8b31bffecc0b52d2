"""The statements use indexes for tables of any size."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from ratesflow.api.postgres.queries import LOCATIONS_SIMILAR, RATES, RATES_OF_LANES, session

EXECUTES = {"rates_lanes": RATES_OF_LANES, **{f"rates_{orig}_{dest}": text for (orig, dest), text in RATES.items()}}
DAYS = ("2021-01-01", "2021-01-31")


@pytest.mark.parametrize("name", EXECUTES)
def test_by_index(reader_url: str, name: str) -> None:
    """Rates are only read by their index, and no statement reads all ports to find two."""
    reads = {(node["Relation Name"], node["Node Type"]): node for node in _nodes(_plan(reader_url, EXECUTES[name]))}
    assert {relation for relation, _ in reads} >= {"rates", "visible_batches", "data_version", "ports", "regions"}
    for (relation, _), node in reads.items():
        if relation == "rates" or (name == "rates_lanes" and relation != "data_version"):
            assert node.get("Index Cond") or node.get("Recheck Cond") or relation == "visible_batches", node
            assert "Seq Scan" not in node["Node Type"], node


def test_alike_is_bounded(reader_url: str) -> None:
    """What may have been meant is some hundred names at most, in one statement."""
    assert _plan(reader_url, LOCATIONS_SIMILAR, 1)["Node Type"] == "Limit"


def _plan(url: str, execute: str, parameters: int = 5) -> dict[str, Any]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(session(5))
        values = ("CNGGZ", "EETLL", *DAYS, 1)[:parameters]
        cursor.execute(f"EXPLAIN (FORMAT json) {execute}", values)
        ((plans,),) = cursor.fetchall()
        return dict(plans[0]["Plan"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)
