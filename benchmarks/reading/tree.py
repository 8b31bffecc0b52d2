"""The cost of moving a port or a region in a large tree, compared with alternatives.

5,000 ports under 60 regions on 3 levels, 20,000 lanes, ten years. The product applies a move as a batch. The
alternatives: compute the rates of all regions for the new tree in the background, then switch; or store rates of the
lowest regions only, and add them up in each read.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg2

from benchmarks.options import Options
from benchmarks.results import Measure, median, percentile
from benchmarks.servers import Servers
from ratesflow.database import reference_change, region_rates
from ratesflow.database.reference import Port, Reference, Region

PORTS, LANES, YEARS = 5_000, 20_000, 10
TOPS, MIDDLES, LOWEST = 3, 9, 48  # 60 regions on three levels
MOVES = 5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_RATES = """
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT 0, month::date, orig, dest, array_fill(3::bigint, ARRAY[days]), array_fill(4500::bigint, ARRAY[days])
FROM unnest(%(origs)s::text[], %(dests)s::text[]) AS lanes (orig, dest)
CROSS JOIN (
    SELECT each AS month, extract(day FROM each + '1 mon -1 day'::interval)::integer AS days
    FROM generate_series(date '2015-01-01', date '2024-12-01', '1 month') AS each
) AS months
"""
_READ = """
SELECT counts, sums FROM rates
WHERE orig_code = %s AND dest_code = %s AND month = %s AND batch_no IN (SELECT batch_no FROM visible_batches)
"""
_SUM = """
SELECT nth, sum(day.count), sum(day.sum) FROM rates
CROSS JOIN LATERAL unnest(counts, sums) WITH ORDINALITY AS day (count, sum, nth)
WHERE orig_code = ANY (%s) AND dest_code = ANY (%s) AND month = %s
  AND batch_no IN (SELECT batch_no FROM visible_batches)
GROUP BY nth
"""


def measure(servers: Servers, options: Options) -> dict[str, Measure]:
    """Fill a database once, then move ports and regions during commits and reads."""
    database, rng = servers.new_database(), random.Random(3)  # noqa: S311 reproducible
    tree = _tree()
    with closing(psycopg2.connect(servers.url(database))) as connection:
        options.log(f"tree: {LANES:,} lanes over {YEARS} years")
        rebuilt = _fill(connection, tree, rng)
        found = {"tree_rebuild_all_s": Measure(rebuilt, rebuilt, rebuilt)}
        options.log("tree: reads")
        found |= _reads(connection, tree, rng)
        lowest = [slug for slug in tree.regions if slug.startswith("low")]
        middles = [slug for slug in tree.regions if slug.startswith("middle")]
        moves: dict[str, Callable[[], Reference]] = {
            "port": lambda: _moved(tree.ports, rng, lowest),
            "region": lambda: _moved(tree.regions, rng, middles, prefix="low"),
        }
        for name, make in moves.items():
            options.log(f"tree: moving a {name}")
            found |= _moves(servers.url(database), connection, name, make, options)
    servers.drop_database(database)
    return found


def _tree() -> Reference:
    regions = [Region(f"top_{at}", f"Top {at}", None) for at in range(TOPS)]
    regions += [Region(f"middle_{at}", f"Middle {at}", f"top_{at % TOPS}") for at in range(MIDDLES)]
    regions += [Region(f"low_{at}", f"Low {at}", f"middle_{at % MIDDLES}") for at in range(LOWEST)]
    codes = (f"Q{a}{b}{c}{d}" for a in LETTERS for b in LETTERS for c in LETTERS for d in LETTERS)
    ports = [Port(next(codes), f"Port {at}", f"low_{at % LOWEST}") for at in range(PORTS)]
    return Reference({port.code: port for port in ports}, {region.slug: region for region in regions})


def _fill(connection: "psycopg2.extensions.connection", tree: Reference, rng: random.Random) -> float:
    """Insert the rates of all lanes, then of the regions; return the seconds of the latter, which is a full rebuild."""
    reference_change.load(connection, tree)
    pairs: set[tuple[str, str]] = set()
    codes = sorted(tree.ports)
    while len(pairs) < LANES:
        pairs.add((rng.choice(codes), rng.choice(codes)))
    origs, dests = zip(*sorted(pairs), strict=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(_RATES, {"origs": list(origs), "dests": list(dests)})
    with connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE rates")
        began = time.perf_counter()
        region_rates.fit_tree(cursor, 0, None)
        seconds = time.perf_counter() - began
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    connection.autocommit = False
    return seconds


def _reads(connection: "psycopg2.extensions.connection", tree: Reference, rng: random.Random) -> dict[str, Measure]:
    """Read a month of ports, of regions as stored, and of regions added up from the lowest ones."""
    below = {
        slug: [low for low in tree.regions if low.startswith("low") and slug in tree.line(low)] for slug in tree.regions
    }
    tops = [slug for slug in tree.regions if slug.startswith("top")]
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT orig_code, dest_code FROM rates WHERE month = '2020-05-01' AND orig_code ~ '^Q' LIMIT 500"
        )
        lanes = cursor.fetchall()
        samples: dict[str, list[float]] = {"port": [], "region": [], "sum": []}
        for at in range(300):
            orig, dest = rng.choice(tops), rng.choice(tops)
            month = f"20{rng.randint(15, 24)}-0{rng.randint(1, 9)}-01"
            for name, query, values in (
                ("port", _READ, (*lanes[at % len(lanes)], month)),
                ("region", _READ, (orig, dest, month)),
                ("sum", _SUM, (below[orig], below[dest], month)),
            ):
                cursor.execute(query, values)  # so that the data is in memory
                began = time.perf_counter()
                cursor.execute(query, values)
                cursor.fetchall()
                samples[name].append(1000 * (time.perf_counter() - began))
    figures = {f"tree_read_{name}_month_ms": median(values) for name, values in samples.items()}
    port = percentile(samples["port"], 0.5)
    for name in ("region", "sum"):
        value = percentile(samples[name], 0.5) / port
        figures[f"tree_read_{name}_vs_port"] = Measure(value, value, value)
    return figures


def _moved(
    rows: dict[str, Port] | dict[str, Region], rng: random.Random, parents: list[str], prefix: str = ""
) -> Reference:
    key = rng.choice([key for key in rows if key.startswith(prefix)])
    row = replace(rows[key], parent_slug=rng.choice([slug for slug in parents if slug != rows[key].parent_slug]))
    return Reference({key: row}, {}) if isinstance(row, Port) else Reference({}, {key: row})


def _moves(
    url: str, connection: "psycopg2.extensions.connection", name: str, make: Callable[[], Reference], options: Options
) -> dict[str, Measure]:
    """Move rows during commits and reads; return the seconds of a move, and of the longest commit and read."""
    seconds, commits, reads = [], [], []
    for _ in range(min(options.rounds, MOVES)):
        change = make()
        with _repeated(url, _commit) as committed, _repeated(url, _read_month) as read:
            began = time.perf_counter()
            reference_change.load(connection, change)
            seconds.append(time.perf_counter() - began)
        commits.append(1000 * max(committed))
        reads.append(1000 * max(read))
    return {
        f"tree_move_{name}_s": median(seconds),
        f"tree_move_{name}_longest_commit_ms": median(commits),
        f"tree_move_{name}_longest_read_ms": median(reads),
    }


@contextmanager
def _repeated(url: str, work: Callable[["psycopg2.extensions.cursor"], None]) -> Iterator[list[float]]:
    """Repeat an operation in the background; yield the seconds of each."""
    stop, samples = threading.Event(), [0.0]

    def repeat() -> None:
        with closing(psycopg2.connect(url)) as connection:
            while not stop.is_set():
                began = time.perf_counter()
                with connection, connection.cursor() as cursor:
                    work(cursor)
                samples.append(time.perf_counter() - began)
                time.sleep(0.005)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _commit(cursor: "psycopg2.extensions.cursor") -> None:
    """Take the locks that a commit takes, in its order."""
    cursor.execute("SELECT version FROM reference_version FOR SHARE")
    cursor.execute("UPDATE data_version SET changed_at = now()")


def _read_month(cursor: "psycopg2.extensions.cursor") -> None:
    cursor.execute(_READ, ("top_0", "top_1", "2020-05-01"))
    cursor.fetchall()
