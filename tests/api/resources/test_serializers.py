"""Averages equal PostgreSQL's to the last digit."""

from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.resources.serializers import average

PRICES = st.lists(st.integers(1, 2**31 - 1) | st.integers(1, 3000), min_size=1, max_size=60)
CASES = st.lists(st.tuples(st.integers(1, 10**18), st.integers(1, 10**9)), min_size=1, max_size=200)


@given(PRICES)
@settings(deadline=None, max_examples=200)
def test_average_of_prices(owner: Connection, prices: list[int]) -> None:
    """The average of any prices equals AVG(price)::float8."""
    with owner, owner.cursor() as cursor:
        cursor.execute("SELECT avg(price)::float8 FROM unnest(%s::integer[]) AS raw (price)", (prices,))
        assert cursor.fetchone() == (average(sum(prices), len(prices)),)


@given(CASES)
@settings(deadline=None, max_examples=200)
def test_average_of_sums(owner: Connection, cases: list[tuple[int, int]]) -> None:
    """For any sum and count, the average equals PostgreSQL's quotient, which is the last step of AVG."""
    assert [average(*case) for case in cases] == quotients(owner, cases)


def test_average_at_edge_cases(owner: Connection) -> None:
    """The average equals PostgreSQL's around the limits of the fast path and around powers of the base."""
    cases = [(total, count) for count in (1, 2, 3, 7, 99, 100, 4096, 8191, 9999) for total in
             (count * count - 1 or 1, count * count, count * count + 1, 10_000 * count - 1, 10_000 * count,
              10_000 * count + 1, count * 1234 + 1, count * 9999 + count // 2)]  # fmt: skip
    cases += [(10_000**power + step, count) for power in range(1, 5) for step in (-1, 0, 1)
              for count in (1, 3, 9_999, 10_000, 10_001, 10_000**2 - 1)]  # fmt: skip
    assert [average(*case) for case in cases] == quotients(owner, cases)


def test_many_prices(owner: Connection) -> None:
    """The average follows PostgreSQL's double rounding where it differs from a single one."""
    cases = [(total, count) for count in range(2**20 - 50, 2**20 + 50) for total in range(count * 9, count * 9 + 100)]
    assert [average(*case) for case in cases] == quotients(owner, cases)
    assert any(average(*case) != case[0] / case[1] for case in cases)


def quotients(owner: Connection, cases: list[tuple[int, int]]) -> list[float]:
    """Divide sum by count as numeric, as the last step of AVG over integers does."""
    totals, counts = zip(*cases, strict=True)
    with owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT (total::numeric / count)::float8 FROM unnest(%s::bigint[], %s::bigint[])"
            " WITH ORDINALITY AS cases (total, count, nth) ORDER BY nth",
            (list(totals), list(counts)),
        )
        return [row[0] for row in cursor]
