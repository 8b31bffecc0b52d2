"""Inserts reference data and batches with plain SQL, and recounts them in plain Python."""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import execute_values

from ratesflow.database.lanes import mark_lanes
from ratesflow.database.versions import make_visible


@dataclass(frozen=True)
class Price:
    """One row of a batch, in whole US dollars."""

    orig_code: str
    dest_code: str
    day: date
    price: int


@dataclass(frozen=True)
class Tree:
    """Ports and regions, each with the region that contains it."""

    ports: Mapping[str, str]
    regions: Mapping[str, str | None]

    def above(self, port: str) -> Iterator[str]:
        """Yield every region that contains `port`, the nearest first."""
        region: str | None = self.ports[port]
        while region is not None:
            yield region
            region = self.regions[region]

    def under(self, location: str) -> set[str]:
        """Return the ports under a location; a port is under itself."""
        return {port for port in self.ports if location == port or location in self.above(port)}


# Ports at every depth, a region without ports, and regions nested three deep.
TREE = Tree(
    ports={
        "CNGGZ": "china_south",
        "CNSGH": "china_east",
        "CNHKG": "china",
        "EETLL": "baltic",
        "FIHEL": "finland",
        "NLRTM": "europe",
    },
    regions={
        "china": None,
        "china_south": "china",
        "china_east": "china",
        "europe": None,
        "baltic": "europe",
        "finland": "baltic",
        "nowhere": None,
    },
)


def seed_tree(connection: Connection, tree: Tree) -> None:
    """Replace all ports and regions, and increment the data version."""
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM ports; DELETE FROM regions")
        regions = [(slug, slug.replace("_", " ").title(), parent) for slug, parent in tree.regions.items()]
        ports = [(code, f"Port of {code}", parent) for code, parent in tree.ports.items()]
        execute_values(cursor, "INSERT INTO regions VALUES %s", regions)
        execute_values(cursor, "INSERT INTO ports VALUES %s", ports)
        cursor.execute("UPDATE data_version SET version = version + 1")


def seed_batch(
    connection: Connection, tree: Tree, prices: Iterable[Price], *, undo: bool = False, staged: bool = True
) -> int:
    """Insert a batch's rates and prices, hidden as after a load; return its number. `undo` negates the rates.

    With `staged`, insert the prices, too, as a partition.
    """
    prices = list(prices)
    months: dict[tuple[str, str, date], tuple[list[int], list[int]]] = {}
    for row in prices:
        first = row.day.replace(day=1)
        length = monthrange(first.year, first.month)[1]
        lanes = [(row.orig_code, row.dest_code)]
        lanes += [(orig, dest) for orig in tree.above(row.orig_code) for dest in tree.above(row.dest_code)]
        for orig, dest in lanes:
            counts, sums = months.setdefault((orig, dest, first), ([0] * length, [0] * length))
            counts[row.day.day - 1] += -1 if undo else 1
            sums[row.day.day - 1] += -row.price if undo else row.price
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO batches (batch_id, bucket, key, version, rows)"
            " VALUES (gen_random_uuid()::text, 'b', 'k', 'v', %s) RETURNING batch_no",
            (len(prices),),
        )
        (batch_no,) = cursor.fetchone() or (0,)
        rates = [(batch_no, month, orig, dest, *days) for (orig, dest, month), days in months.items()]
        execute_values(
            cursor, "INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums) VALUES %s", rates
        )
        mark_lanes(cursor, batch_no)
        if staged and not undo:
            cursor.execute("SELECT stage_batch(%s)", (batch_no,))
            rows = [(batch_no, row.day, row.price, row.orig_code, row.dest_code) for row in prices]
            execute_values(
                cursor, f"INSERT INTO staging_{batch_no} (batch_no, day, price, orig_code, dest_code) VALUES %s", rows
            )
            cursor.execute("SELECT attach_batch(%s)", (batch_no,))
    return int(batch_no)


def open_batch(connection: Connection, batch_no: int) -> None:
    """Make a batch visible, as a commit does."""
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE batches SET state = 'committed', closed_at = now() WHERE batch_no = %s", (batch_no,))
        make_visible(cursor, batch_no)


def averages(prices: Iterable[Price], tree: Tree, orig: str, dest: str) -> dict[date, list[int]]:
    """Return every price between two locations by day."""
    origins, destinations = tree.under(orig), tree.under(dest)
    days: dict[date, list[int]] = defaultdict(list)
    for row in prices:
        if row.orig_code in origins and row.dest_code in destinations:
            days[row.day].append(row.price)
    return dict(days)
