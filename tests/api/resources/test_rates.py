"""Rates equal a recount of the raw prices of visible batches, for ports and regions."""

import itertools
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.api.seed import TREE, Price, averages, open_batch, seed_batch

JANUARY = (date(2021, 1, 1), date(2021, 1, 31))
LOCATIONS = [*TREE.ports, *TREE.regions]


def rates(client: testing.TestClient, orig: str, dest: str, first: date, last: date) -> list[dict[str, object]]:
    """Return the rates in the service's response."""
    params = {"orig_code": orig, "dest_code": dest, "date_from": str(first), "date_to": str(last)}
    response = client.simulate_get("/rates", params=params)
    assert response.status_code == 200, response.text
    return list(response.json["rates"])


def recount(
    owner: Connection, prices: Iterable[Price], orig: str, dest: str, first: date, last: date
) -> list[dict[str, object]]:
    """Recount the rates: group the prices in Python, and average those of each day in PostgreSQL."""
    days = averages(prices, TREE, orig, dest)
    rates: list[dict[str, object]] = []
    with owner, owner.cursor() as cursor:
        for back in range((last - first).days + 1):
            day = last - timedelta(days=back)
            of_day = days.get(day, [])
            cursor.execute("SELECT avg(price)::float8 FROM unnest(%s::integer[]) AS raw (price)", (of_day,))
            (price,) = cursor.fetchone() or (None,)
            rates.append({"count": len(of_day) or None, "day": str(day), "price": price if len(of_day) >= 3 else None})
    return rates


def clear(owner: Connection) -> None:
    """Remove every batch."""
    with owner, owner.cursor() as cursor:
        cursor.execute("UPDATE batches SET state = 'undone' WHERE state = 'committed'")
        cursor.execute("DELETE FROM rates; DELETE FROM visible_batches WHERE batch_no <> 0")


@pytest.fixture
def many(owner: Connection) -> Iterable[list[Price]]:
    """Three committed batches of a month, with busy, sparse and empty lanes and days."""
    clear(owner)
    chance = random.Random(7)
    ports = list(TREE.ports)
    prices = [
        Price(*chance.sample(ports, 2), JANUARY[0] + timedelta(days=chance.randrange(25)), chance.randint(1, 9_999))
        for _ in range(1500)
    ]
    prices += [Price("CNGGZ", "EETLL", date(2020, 12, 31), 10), Price("CNGGZ", "EETLL", date(2021, 2, 1), 10)]
    for part in (prices[:200], prices[200:210], prices[210:]):
        open_batch(owner, seed_batch(owner, TREE, part))
    yield prices
    clear(owner)


def test_every_pair(client: testing.TestClient, owner: Connection, many: list[Price]) -> None:
    """The rates of a month are exact between any two ports or regions at any depth, overlapping or not."""
    for orig, dest in itertools.product(LOCATIONS, repeat=2):
        assert rates(client, orig, dest, *JANUARY) == recount(owner, many, orig, dest, *JANUARY), (orig, dest)


def test_concurrent_requests_get_the_same_responses(client: testing.TestClient, many: list[Price]) -> None:
    """Requests that share a statement get the responses that each gets alone, with known and unknown locations."""
    requests = [
        {"orig_code": orig, "dest_code": dest, "date_from": str(JANUARY[0] + timedelta(days=number % 40)),
         "date_to": str(JANUARY[1] + timedelta(days=number % 40))}
        for number, (orig, dest) in enumerate(itertools.product([*LOCATIONS, "AAAAA", "nowhere"], repeat=2))
    ]  # fmt: skip

    def send(params: dict[str, str]) -> tuple[str, str]:
        returned = client.simulate_get("/rates", params=params)
        return returned.status, returned.text

    alone = [send(params) for params in requests]
    assert {status[:3] for status, _ in alone} == {"200", "404"}
    with ThreadPoolExecutor(30) as threads:
        assert list(threads.map(send, requests)) == alone


def test_equals_average_of_the_table(client: testing.TestClient, owner: Connection, many: list[Price]) -> None:
    """The rates equal a plain AVG query on the table of prices."""
    with owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT day::text, count(*), CASE WHEN count(*) >= 3 THEN avg(price)::float8 END FROM committed_prices"
            " WHERE orig_code = 'CNGGZ' AND dest_code = 'EETLL' AND day BETWEEN %s AND %s GROUP BY day",
            JANUARY,
        )
        expected = {day: (count, price) for day, count, price in cursor}
    returned = {rate["day"]: (rate["count"], rate["price"]) for rate in rates(client, "CNGGZ", "EETLL", *JANUARY)}
    assert len(returned) == 31
    assert {day: rate for day, rate in returned.items() if rate != (None, None)} == expected


DAYS = st.dates(date(2019, 12, 15), date(2020, 3, 15))
ROWS = st.lists(
    st.builds(
        Price, st.sampled_from(["CNGGZ", "CNSGH", "CNHKG"]), st.sampled_from(["EETLL", "FIHEL", "NLRTM"]),
        DAYS, st.integers(1, 50_000),
    ),
    max_size=40,
)  # fmt: skip


@given(
    batches=st.lists(ROWS, max_size=3), dates=st.tuples(DAYS, DAYS).map(sorted),
    orig=st.sampled_from(["CNGGZ", "CNHKG", "china", "china_east"]),
    dest=st.sampled_from(["EETLL", "FIHEL", "baltic", "europe", "nowhere"]),
)  # fmt: skip
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_batches(
    client: testing.TestClient, owner: Connection, batches: list[list[Price]], dates: list[date], orig: str, dest: str
) -> None:
    """With random batches, gaps and sparse days, any range between any locations is exact."""
    clear(owner)
    for rows in batches:
        # Several prices a day: otherwise there would hardly be an average.
        open_batch(owner, seed_batch(owner, TREE, rows * 2, staged=False))
    raw = [price for rows in batches for price in rows * 2]
    assert rates(client, orig, dest, dates[0], dates[1]) == recount(owner, raw, orig, dest, dates[0], dates[1])


def test_hidden_until_committed(client: testing.TestClient, owner: Connection) -> None:
    """A loaded batch is invisible; once it is committed all of it is visible, with a new ETag."""
    clear(owner)
    day = date(2022, 5, 5)
    batch_no = seed_batch(owner, TREE, [Price("CNGGZ", "EETLL", day, price) for price in (100, 200, 301)])
    params = {"orig_code": "CNGGZ", "dest_code": "EETLL", "date_from": str(day), "date_to": str(day)}
    before = client.simulate_get("/rates", params=params)
    assert before.json["rates"] == [{"count": None, "day": "2022-05-05", "price": None}]
    for orig, dest in (("china", "europe"), ("CNGGZ", "europe"), ("china", "EETLL")):
        assert rates(client, orig, dest, day, day)[0]["count"] is None
    open_batch(owner, batch_no)
    after = client.simulate_get("/rates", params=params, headers={"If-None-Match": before.headers["ETag"]})
    assert after.json["rates"] == [{"count": 3, "day": "2022-05-05", "price": 200.33333333333334}]
    for orig, dest in (("china", "europe"), ("CNGGZ", "europe"), ("china", "EETLL")):
        assert rates(client, orig, dest, day, day)[0]["count"] == 3
    same = client.simulate_get("/rates", params=params, headers={"If-None-Match": after.headers["ETag"]})
    assert same.status_code == 304


def test_undone_batch(client: testing.TestClient, owner: Connection) -> None:
    """A batch and its undo cancel out, and other batches are unchanged."""
    clear(owner)
    day = date(2022, 6, 6)
    kept = [Price("CNGGZ", "EETLL", day, price) for price in (10, 20, 40)]
    gone = [Price("CNGGZ", "EETLL", day, 999), Price("CNGGZ", "EETLL", day + timedelta(days=1), 999)]
    open_batch(owner, seed_batch(owner, TREE, kept))
    open_batch(owner, seed_batch(owner, TREE, gone))
    assert rates(client, "CNGGZ", "EETLL", day, day)[0]["count"] == 4
    open_batch(owner, seed_batch(owner, TREE, gone, undo=True))
    for orig, dest in (("CNGGZ", "EETLL"), ("china", "baltic"), ("CNGGZ", "baltic"), ("china", "EETLL")):
        found = rates(client, orig, dest, day, day + timedelta(days=1))
        assert [(rate["count"], rate["price"]) for rate in found] == [(None, None), (3, 70 / 3)]


def test_similar_locations_are_named(client: testing.TestClient) -> None:
    """An unknown location returns 404 with similar locations."""
    params = {"orig_code": "cnggz", "dest_code": "balitc", "date_from": "2021-01-01", "date_to": "2021-01-01"}
    response = client.simulate_get("/rates", params=params)
    assert response.status_code == 404
    orig, dest = response.json["errors"]
    assert "CNGGZ (Port of CNGGZ)" in orig["detail"]
    assert "baltic (Baltic)" in dest["detail"]


@pytest.mark.parametrize("text", ["shanghai", "a\0b", "%", "\\", "'; DROP TABLE rates; --", "é" * 300, "€"])
def test_any_text_as_location(client: testing.TestClient, text: str) -> None:
    """Any text as a location is passed to the database as a value, and returns 404."""
    params = {"orig_code": text, "dest_code": "EETLL", "date_from": "2021-01-01", "date_to": "2021-01-01"}
    assert client.simulate_get("/rates", params=params).status_code == 404


def test_new_reference_data_is_used_at_once(client: testing.TestClient, owner: Connection) -> None:
    """A new port can be queried as soon as it is in the reference data."""
    params = {"orig_code": "DEHAM", "dest_code": "EETLL", "date_from": "2021-01-01", "date_to": "2021-01-01"}
    assert client.simulate_get("/rates", params=params).status_code == 404
    with owner, owner.cursor() as cursor:
        cursor.execute("INSERT INTO ports VALUES ('DEHAM', 'Hamburg', 'europe')")
    assert client.simulate_get("/rates", params=params).status_code == 200
