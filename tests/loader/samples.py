"""Batches of prices for tests, generated from a seed, and a plain count of them."""

import io
import json
import random
from collections import defaultdict
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet

from ratesflow.database.reference import Reference, builtin

Row = tuple[str, str, date, int]


def rows(count: int, seed: int = 1, lanes: int = 30, first: date = date(2021, 1, 20), days: int = 25) -> list[Row]:
    """Return prices on some lanes over two months, several a lane and day."""
    random.seed(seed)
    ports = sorted(builtin().ports)
    pairs = [tuple(random.sample(ports, 2)) for _ in range(lanes)]
    return [
        (*random.choice(pairs), first + timedelta(random.randrange(days)), random.randint(300, 9000))
        for _ in range(count)
    ]


def csv(prices: list[Row], header: str = "orig_code,dest_code,day,price", end: str = "\n") -> bytes:
    """Return a batch file of these prices."""
    return end.join([header, *(f"{orig},{dest},{day},{price}" for orig, dest, day, price in prices), ""]).encode()


def json_lines(prices: list[Row], **options: object) -> bytes:
    """Return the same as JSON Lines; options go to json.dumps."""
    names = ("orig_code", "dest_code", "day", "price")
    return "".join(
        json.dumps(dict(zip(names, row, strict=True)), default=str, **options) + "\n" for row in prices
    ).encode()


def parquet(prices: list[Row], types: dict[str, pa.DataType] | None = None, **options: object) -> bytes:
    """Return the same as Parquet; options go to write_table, such as row_group_size."""
    columns = zip(*prices, strict=True) if prices else ((), (), (), ())
    names = ("orig_code", "dest_code", "day", "price")
    types = {
        "orig_code": pa.string(),
        "dest_code": pa.string(),
        "day": pa.date32(),
        "price": pa.int64(),
        **(types or {}),
    }
    table = {name: pa.array(column).cast(types[name]) for name, column in zip(names, columns, strict=True)}
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(table), sink, **options)
    return sink.getvalue()


def daily(prices: list[Row], reference: Reference) -> dict[tuple[str, str, date], tuple[int, int]]:
    """Return count and sum for each lane and day, of ports and of regions, counted one price at a time."""
    found: dict[tuple[str, str, date], list[int]] = defaultdict(lambda: [0, 0])
    for orig, dest, day, price in prices:
        lanes = [(orig, dest)]
        lanes += [(o, d) for o in reference.regions_of[orig] for d in reference.regions_of[dest]]
        for lane in lanes:
            found[(*lane, day)][0] += 1
            found[(*lane, day)][1] += price
    return {key: (count, total) for key, (count, total) in found.items()}
