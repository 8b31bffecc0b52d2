"""A thousand reads per second of 20,000 lanes, while two batches of 10,000 rows commit each second.

Batches are `small` (about 170 lanes for 60 days, as suppliers send them) or `spread` (10,000 lanes for a day, the
worst case). They commit as in production (`kept`), or without a list of the lanes that they touch, so that each
commit invalidates the whole cache (`dropped`). RATESFLOW_BENCH_API_BEFORE is the path of another checkout of the
product, which is then measured as `before`.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from benchmarks.api.alternatives import WORKERS, ours, serving
from benchmarks.api.data import PASSWORD
from benchmarks.api.wrk import Wrk
from benchmarks.options import Options
from benchmarks.results import Measure, median, percentile, ratio
from ratesflow.database import reference_change
from ratesflow.database.lanes import mark_lanes
from ratesflow.database.migrate import migrate
from ratesflow.database.reference import Port, Reference, Region
from ratesflow.database.versions import make_visible
from ratesflow.local.postgres.server import Postgres
from ratesflow.local.processes import free_port, python

LANES, REGION_LANES, MIXED = 18_500, 1_000, 500
CONTINENTS, COUNTRIES, PORTS = 8, 40, 400
COMMITS_A_SECOND, READS_A_SECOND = 2.0, 1_000
SECONDS, WARM_SECONDS = 15, 15
ZIPF = 0.8  # exponent of the popularity of lanes: the first is read a thousand times as often as the last
MAX_ROUNDS = 2  # they take long
BEFORE = "RATESFLOW_BENCH_API_BEFORE"
Samples = dict[str, list[float]]

# The lanes of a batch by their numbers, and the lanes between regions above them, as a load writes them.
_BATCH = """
WITH chosen AS (
    SELECT orig_code, dest_code, month FROM bench_lanes
    CROSS JOIN unnest(%(months)s::date[]) AS month WHERE number = ANY (%(lanes)s)
), lanes AS (
    SELECT orig_code, dest_code, month FROM chosen
    UNION ALL
    SELECT DISTINCT o.slug, d.slug, month FROM chosen
    JOIN port_regions AS o ON o.code = orig_code JOIN port_regions AS d ON d.code = dest_code
)
INSERT INTO rates (batch_no, month, orig_code, dest_code, counts, sums)
SELECT %(batch)s, month, orig_code, dest_code,
    array_fill(%(count)s::bigint, ARRAY[days::integer]), array_fill(900::bigint, ARRAY[days::integer])
FROM lanes CROSS JOIN LATERAL extract(day FROM month + '1 mon -1 days'::interval) AS days
"""


class Scenario:
    """A database with its lanes, the requests that read them, and the batches that change them."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._rng = np.random.default_rng(6)
        self.folder = folder
        self.owner = postgres.url(database="commits")
        self.reader = postgres.url("api", PASSWORD, "commits")
        with closing(psycopg2.connect(postgres.url())) as connection:
            connection.autocommit = True
            _run(connection, "CREATE DATABASE commits")
        migrate(self.owner)
        with closing(psycopg2.connect(self.owner)) as connection:
            reference_change.load(connection, _reference())
            requests = self._fill(connection)
            connection.autocommit = True
            _run(connection, "VACUUM ANALYZE", f"DO $$ BEGIN CREATE ROLE api LOGIN PASSWORD '{PASSWORD}' IN ROLE"
                 " ratesflow_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")  # fmt: skip
        days = "date_from=2021-01-01&date_to=2021-01-31"
        self.paths = [f"/rates?{days}&orig_code={orig}&dest_code={dest}" for orig, dest in requests]
        shares = 1 / np.arange(1, len(requests) + 1) ** ZIPF
        order = self._rng.choice(len(requests), READS_A_SECOND * SECONDS, p=shares / shares.sum())
        self.listed = folder / "commits-paths.txt"
        self.listed.write_text("\n".join(self.paths[number] for number in order) + "\n", encoding="utf-8")

    def _fill(self, connection: Connection) -> list[tuple[str, str]]:
        ports, regions = sorted(_reference().ports), sorted(_reference().regions)
        pairs = self._rng.permutation(PORTS * PORTS)
        lanes = [(ports[n // PORTS], ports[n % PORTS]) for n in pairs if n // PORTS != n % PORTS][:LANES]
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE bench_lanes (number integer PRIMARY KEY, orig_code text, dest_code text)")
            origs, dests = zip(*lanes, strict=True)
            cursor.execute(
                "INSERT INTO bench_lanes SELECT nth - 1, o, d FROM unnest(%s, %s) WITH ORDINALITY AS l (o, d, nth)",
                (list(origs), list(dests)),
            )
            self._insert(cursor, 0, list(range(LANES)), ("2021-01-01", "2021-02-01"))
        between = [(regions[n // len(regions)], regions[n % len(regions)]) for n in
                   self._rng.permutation(len(regions) ** 2)[:REGION_LANES]]  # fmt: skip
        mixed = [(ports[self._rng.integers(PORTS)], regions[self._rng.integers(len(regions))]) for _ in range(MIXED)]
        requests = lanes + between + mixed
        return [requests[number] for number in self._rng.permutation(len(requests))]

    def _insert(self, cursor: object, batch: int, lanes: list[int], months: tuple[str, ...]) -> None:
        values = {"batch": batch, "lanes": lanes, "months": list(months), "count": 3 + batch % 5}
        cursor.execute(_BATCH, values)  # type: ignore[attr-defined]

    def commit(self, connection: Connection, batch: int, kind: str, *, marked: bool) -> None:
        """Commit a batch."""
        count, months = (170, ("2021-01-01", "2021-02-01")) if kind == "small" else (10_000, ("2021-01-01",))
        with connection, connection.cursor() as cursor:
            self._insert(cursor, batch, [int(n) for n in self._rng.choice(LANES, count, replace=False)], months)
            if marked:
                mark_lanes(cursor, batch)
            make_visible(cursor, batch)

    def clear(self) -> None:
        """Delete all batches."""
        with closing(psycopg2.connect(self.owner)) as connection:
            connection.autocommit = True
            _run(connection, "DELETE FROM rates WHERE batch_no <> 0", "DELETE FROM visible_batches WHERE batch_no <> 0")
            _run(
                connection,
                "DELETE FROM changes",
                "UPDATE data_version SET version = version + 1",
                "VACUUM ANALYZE",
                "CHECKPOINT",
            )

    @contextmanager
    def commits(self, kind: str, *, marked: bool) -> Iterator[list[float]]:
        """Commit batches until the block ends; yield the list of their seconds."""
        ended, took = threading.Event(), list[float]()

        def run() -> None:
            due, batch = time.monotonic(), 0
            with closing(psycopg2.connect(self.owner)) as connection:
                while not ended.wait(max(0.0, due - time.monotonic())):
                    due, batch, began = due + 1 / COMMITS_A_SECOND, batch + 1, time.monotonic()
                    self.commit(connection, batch, kind, marked=marked)
                    took.append(time.monotonic() - began)

        thread = threading.Thread(target=run)
        if kind != "none":
            thread.start()
        try:
            yield took
        finally:
            ended.set()
            if kind != "none":
                thread.join()


def measure(postgres: Postgres, folder: Path, options: Options) -> dict[str, Measure]:
    """Read while batches commit, in all cases in turn."""
    scenario = Scenario(postgres, folder)
    samples: dict[str, Samples] = defaultdict(lambda: defaultdict(list))
    cases = [("none", "kept")] + [(kind, mode) for kind in ("small", "spread") for mode in ("kept", "dropped")]
    if os.environ.get(BEFORE):
        cases += [("none", "before"), ("small", "before"), ("spread", "before")]
    for number in range(min(options.rounds, MAX_ROUNDS)):
        for kind, mode in cases:
            options.log(f"api commits: round {number + 1}: {kind}, {mode}")
            for name, value in _round(scenario, kind, mode).items():
                samples[f"{kind}_{mode}"][name].append(value)
    found = {f"api_commits_{case}_{name}": median(each) for case, by in samples.items() for name, each in by.items()}
    return found | {
        "api_commits_cached_vs_dropped": ratio(
            samples["small_kept"]["cached_share"], samples["small_dropped"]["cached_share"]
        )
    }


def _round(scenario: Scenario, kind: str, mode: str) -> dict[str, float]:
    scenario.clear()
    log = scenario.folder / f"commits-{kind}-{mode}.log"
    log.unlink(missing_ok=True)
    with _service(scenario.reader, log, mode) as port:
        Wrk(scenario.folder, port, scenario.paths, connections=16, seconds=WARM_SECONDS).result()
        with scenario.commits(kind, marked=mode != "dropped") as took:
            time.sleep(2)
            began = time.time()
            output = scenario.folder / "commits-reads.json"
            command = [
                sys.executable,
                "-m",
                "benchmarks.api.reads",
                str(port),
                str(scenario.listed),
                str(READS_A_SECOND),
                str(SECONDS),
            ]
            subprocess.run([*command, str(output)], check=True)
            ended = time.time()
    reads = json.loads(output.read_text(encoding="utf-8"))
    if set(reads["statuses"]) != {"200"}:
        raise RuntimeError(f"some responses failed: {reads['statuses']}")
    counts = _counts(log, began, ended)
    figures = {
        "cached_share": counts["CacheHits"] / counts["Requests"],
        "p50_ms": percentile(reads["ms"], 0.5),
        "p99_ms": percentile(reads["ms"], 0.99),
    }
    return {**figures, "commit_s": percentile(took, 0.5)} if took else figures


@contextmanager
def _service(url: str, log: Path, mode: str) -> Iterator[int]:
    # Large enough for all lanes, so that only commits remove responses.
    settings = {"RATESFLOW_API_METRICS_SECONDS": "1", "RATESFLOW_API_CACHE_MB": "128"}
    if mode == "before":
        port = free_port()
        command = [
            "env",
            "-C",
            os.environ[BEFORE],
            *python("ratesflow.api", "--host", "127.0.0.1", "--port", str(port)),
        ]
        with serving([*command, "--workers", str(WORKERS)], port, {"DATABASE_URL": url, **settings}, log):
            yield port
    else:
        with ours(url, log, **settings) as (port, _):
            yield port


def _counts(log: Path, began: float, ended: float) -> Counter[str]:
    """Return the sums of the workers' metrics in that period."""
    counts: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith('{"_aws"'):
            metrics = json.loads(line)
            if began < metrics["_aws"]["Timestamp"] / 1000 < ended + 1:
                counts.update({name: metrics[name] for name in ("Requests", "CacheHits", "Coalesced", "CacheMisses")})
    return counts


def _reference() -> Reference:
    regions = {f"continent_{n}": Region(f"continent_{n}", f"Continent {n}", None) for n in range(CONTINENTS)}
    regions |= {f"country_{n}": Region(f"country_{n}", f"Country {n}", f"continent_{n % CONTINENTS}")
                for n in range(COUNTRIES)}  # fmt: skip
    codes = [f"{chr(65 + n // 26 // 26)}{chr(65 + n // 26 % 26)}AA{chr(65 + n % 26)}" for n in range(PORTS)]
    ports = {code: Port(code, f"Port {code}", f"country_{n % COUNTRIES}") for n, code in enumerate(codes)}
    return Reference(ports, regions)


def _run(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
