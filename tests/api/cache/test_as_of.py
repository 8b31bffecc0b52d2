"""A worker reads its own data version while that is available, and the newest version otherwise."""

import time
from collections.abc import Iterator
from datetime import date

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from ratesflow.api.models.rates import Rates, RatesQuery, ReferenceData
from ratesflow.api.models.versions import LatestVersion
from ratesflow.api.postgres.pool import ConnectionPool
from ratesflow.api.postgres.queries import session
from ratesflow.api.postgres.reader import DatabaseReader
from ratesflow.api.resources.parameters import location
from ratesflow.database import reference_change
from ratesflow.database.reference import Port, Reference
from ratesflow.database.versions import make_visible
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.tasks.compact import compact
from tests.api.seed import TREE, Price, open_batch, seed_batch

DAY = date(2021, 1, 1)
LANES = [("CNGGZ", "EETLL"), ("china", "baltic"), ("CNGGZ", "baltic"), ("china", "EETLL")]


@pytest.fixture
def latest() -> LatestVersion:
    return LatestVersion()


@pytest.fixture
def reader(reader_url: str, latest: LatestVersion, owner: Connection) -> Iterator[DatabaseReader]:
    """A reader at a version in which each lane has one price on the day."""
    with owner, owner.cursor() as cursor:
        cursor.execute("DELETE FROM rates; DELETE FROM visible_batches WHERE batch_no <> 0; DELETE FROM changes")
    commit(owner)
    connections = ConnectionPool(reader_url, session(5))
    reader = DatabaseReader(connections, latest, is_fresh=lambda: True)
    assert latest.advance(reader.poll_version(5))
    yield reader
    connections.close()


def commit(owner: Connection) -> None:
    """Commit a batch with one more price."""
    open_batch(owner, seed_batch(owner, TREE, [Price("CNGGZ", "EETLL", DAY, 100)], staged=False))


def read(reader: DatabaseReader, orig: str, dest: str) -> Rates:
    """Return the rates of a day."""
    return reader.rates(RatesQuery(DAY, DAY, location(orig), location(dest)), time.monotonic() + 5)


def counts(reader: DatabaseReader) -> list[tuple[int, int]]:
    """Read each lane; return the version and the number of prices of each."""
    found = [read(reader, *lane) for lane in LANES]
    assert len({each.latest for each in found}) == 1
    return [(each.version.number, sum(each.months[DAY][0])) for each in found]


def reference_data(reader: DatabaseReader) -> ReferenceData:
    """Return the ports and regions."""
    return reader.reference_data(time.monotonic() + 5)


def at(latest: LatestVersion) -> int:
    """Return the number of the reader's version."""
    assert latest.state
    return latest.state.version.number


def test_reads_its_version_until_it_advances(reader: DatabaseReader, latest: LatestVersion, owner: Connection) -> None:
    """Batches committed after the worker's version are read only once the worker has advanced."""
    before = at(latest)
    for _ in range(3):
        commit(owner)
    assert counts(reader) == [(before, 1)] * 4
    assert read(reader, *LANES[0]).latest.number == before + 3
    assert reference_data(reader).version.number == before
    latest.advance(reader.poll_version(5))
    assert counts(reader) == [(before + 3, 4)] * 4


def test_compaction(reader: DatabaseReader, latest: LatestVersion, owner: Connection) -> None:
    """A compaction that includes later batches leads to a read of the newest version; any other has no effect."""
    before = at(latest)
    compact(owner, "run", dataset=FreightPrices())
    commit(owner)
    assert counts(reader) == [(before, 1)] * 4
    compact(owner, "run", dataset=FreightPrices())
    assert counts(reader) == [(before + 1, 2)] * 4


def test_reference_data(reader: DatabaseReader, latest: LatestVersion, owner: Connection) -> None:
    """If ports or regions have changed, the newest version is read."""
    before = at(latest)
    commit(owner)
    reference_change.load(owner, Reference({"DEHAM": Port("DEHAM", "Hamburg", "europe")}, {}))
    assert counts(reader) == [(before + 2, 2)] * 4
    assert "DEHAM" in {port.key for port in reference_data(reader).ports}
    assert reference_data(reader).version.number == before + 2


def test_missing_change_reads_the_newest_version(
    reader: DatabaseReader, latest: LatestVersion, owner: Connection
) -> None:
    """If the changes of a version are unknown, the newest version is read."""
    before = at(latest)
    commit(owner)
    with owner, owner.cursor() as cursor:
        cursor.execute("DELETE FROM changes WHERE version = %s", (before + 1,))
    commit(owner)
    assert counts(reader) == [(before + 2, 3)] * 4


def test_two_batches_in_one_version(reader: DatabaseReader, latest: LatestVersion, owner: Connection) -> None:
    """Batches that become visible in one version are read together or not at all."""
    before = at(latest)
    numbers = [seed_batch(owner, TREE, [Price("CNGGZ", "EETLL", DAY, 100)], staged=False) for _ in range(2)]
    with owner, owner.cursor() as cursor:
        make_visible(cursor, *numbers)
    assert counts(reader) == [(before, 1)] * 4
    latest.advance(reader.poll_version(5))
    assert counts(reader) == [(before + 1, 3)] * 4
