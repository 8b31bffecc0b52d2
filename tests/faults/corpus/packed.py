"""Invalid Parquet files, and truncated compressed files and JSON."""

import gzip
import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet

from tests.faults.corpus.text import COUNT, INVALID, NAMES, Case, object_lines, valid_rows
from tests.loader.samples import csv


def parquet() -> Iterator[Case]:
    """Yield Parquet files with invalid types, columns and values; rows count from 1."""
    columns = dict(zip(NAMES, map(list, zip(*valid_rows(), strict=True)), strict=True))
    texts = [day.isoformat() for day in columns["day"]]

    def file(**change: pa.Array) -> bytes:
        sink = io.BytesIO()
        pa.parquet.write_table(pa.table({name: pa.array(values) for name, values in columns.items()} | change), sink)
        return sink.getvalue()

    def at(name: str, index: int, value: object) -> list[object]:
        changed: list[object] = list(texts if name == "day" else columns[name])  # type: ignore[arg-type]
        changed[index] = value
        return changed

    for value, reason in list(INVALID["orig_code"].items())[:12]:
        yield Case(
            f"Parquet: origin {value!a}", file(orig_code=pa.array(at("orig_code", 7, value))), 8, reason, "orig_code"
        )
    for value, reason in list(INVALID["day"].items())[:12]:
        yield Case(f"Parquet: day {value!a}", file(day=pa.array(at("day", 9, value))), 10, reason, "day")
    for value, reason in {0: "price_not_positive", -5: "price_not_positive", 1 << 31: "price_too_large"}.items():
        yield Case(
            f"Parquet: price {value}", file(price=pa.array(at("price", 39, value), pa.int64())), 40, reason, "price"
        )
    for name in NAMES:
        kind = {"price": pa.int64()}.get(name, pa.string())
        yield Case(f"Parquet: no {name}", file(**{name: pa.array(at(name, 3, None), kind)}), 4, "missing_value", name)
    wrong = {"float": pa.float64(), "decimal": pa.decimal128(12, 2), "text": pa.string(), "boolean": pa.bool_()}
    for name, kind in wrong.items():
        yield Case(f"Parquet: price as {name}", file(price=pa.nulls(COUNT, kind)), 1, "wrong_type")
    yield Case(
        "Parquet: day with a zone", file(day=pa.array(columns["day"]).cast(pa.timestamp("s", "UTC"))), 1, "wrong_type"
    )
    yield Case("Parquet: an additional column", file(note=pa.array(texts)), 1, "wrong_header")
    whole = file()
    for kept in (4, 11, len(whole) // 2, len(whole) - 1):
        yield Case(f"Parquet: {kept} of {len(whole)} bytes", whole[:kept], 1, "truncated_parquet")


def truncated() -> Iterator[Case]:
    """Yield truncated and damaged gzip files, and invalid JSON."""
    text = csv(valid_rows())
    packed = gzip.compress(text, mtime=0)
    # zlib reports this before it returns the block's text: "at or after" line 1.
    yield Case("gzip: checksum", packed[:-8] + b"\0\0\0\0" + packed[-4:], 1, "broken_gzip")
    yield Case("gzip: length", packed[:-4] + b"\1\0\0\0", 1, "broken_gzip")
    yield Case("gzip: trailing garbage", packed + b"garbage", COUNT + 2, "broken_gzip")
    yield Case("gzip: no end", packed[:-8], COUNT + 2, "truncated_gzip")
    yield Case("gzip: only the beginning", packed[:15], 1, "truncated_gzip")
    objects = object_lines()
    wrong = [b"", b"null", b"5", b'"x"', b"[]", b"{", b"// x", b"NaN", b"{'orig_code':1}", b'{"a":' * 3000]
    wrong += [objects[4][:-1], objects[4] + objects[4], objects[4] + b","]
    for number, line in enumerate(wrong):
        yield Case(f"JSON {number}", b"\n".join([*objects[:4], line, *objects[5:], b""]), 5, "invalid_json")
    more = {
        "an additional key": (b"{", b'{"note": 1, ', "unknown_key"),
        "a key twice": (b"{", b'{"day": "2021-01-01", ', "duplicate_key"),
    }
    for name, (old, new, reason) in more.items():
        lines = [*objects[:4], objects[4].replace(old, new, 1), *objects[5:], b""]
        yield Case(f"JSON: {name}", b"\n".join(lines), 5, reason)
    for column in NAMES:
        row = json.loads(objects[4])
        del row[column]
        lines = [*objects[:4], json.dumps(row).encode(), *objects[5:], b""]
        yield Case(f"JSON: no {column}", b"\n".join(lines), 5, "missing_value", column)
