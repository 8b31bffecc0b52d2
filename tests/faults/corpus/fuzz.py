"""`python -m tests.faults.corpus.fuzz PARSER`: coverage-guided fuzzing of each parser.

Requires atheris, which is not among the tests' requirements: `pip install atheris` (wheels for Linux only). Any file
is accepted, or rejected with a line and a reason; for CSV the vectorized and the line-by-line parser agree. Other
arguments are passed to libFuzzer, such as `-max_total_time=60` or a directory of examples
(`python -m tests.faults.corpus.cases FOLDER` creates one).
"""

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["ratesflow.loader", "ratesflow.api.resources.parameters"]):
    from ratesflow.api.resources.parameters import rates_query
    from ratesflow.api.resources.problems import ProblemError
    from ratesflow.loader.files.read_shard import read_shard
    from ratesflow.loader.files.report import ReportWriter, merged
    from ratesflow.loader.freight.schema import ROWS, Price, parse_line
    from ratesflow.loader.freight.validator import PriceValidator
from tests.loader.reading_files import PORTS, fetch_from

HEADER = b"orig_code,dest_code,day,price\n"
OBJECT = b'{"orig_code":"CNSHA","dest_code":"NLRTM","day":"2021-01-31","price":5}\n'


def any_file(data: bytes) -> None:
    """Fuzz a file of any format."""
    with ReportWriter(ROWS) as writer:
        read_shard(fetch_from(data, 997), len(data), PriceValidator(PORTS), writer)
        report = merged([writer.finish()], ROWS)
    if not report.accepted:
        assert report.errors
        first = report.errors[0]
        assert first["line"] >= 1
        assert first["reason"]
        assert first["message"].isprintable()
        assert first["value"].isprintable()


def csv_lines(data: bytes) -> None:
    """Fuzz lines of CSV; both parsers count the same rows."""
    with ReportWriter(ROWS) as writer:
        read_shard(fetch_from(HEADER + data), len(HEADER + data), PriceValidator(PORTS), writer)
        report = merged([writer.finish()], ROWS)
    if report.accepted:
        lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
        while not lines[-1]:
            lines.pop()
        columns = ("orig_code", "dest_code", "day", "price")
        rows = [parse_line(line, columns, PORTS) for line in lines]
        assert all(isinstance(row, Price) for row in rows)
        assert report.rows == len(rows)


def json_lines(data: bytes) -> None:
    """Fuzz lines of JSON after a valid one."""
    any_file(OBJECT + data)


def parquet(data: bytes) -> None:
    """Fuzz bytes between the magic numbers of Parquet."""
    any_file(b"PAR1" + data + b"PAR1")


def gzip(data: bytes) -> None:
    """Fuzz bytes after a gzip header."""
    any_file(b"\x1f\x8b\x08\x00" + data)


def query(data: bytes) -> None:
    """Fuzz the parameters of `/rates`."""
    values = data.decode("utf-8", "replace").split("\0")
    names = ("date_from", "date_to", "orig_code", "dest_code")
    try:
        rates_query(dict(zip(names, values, strict=False)))
    except ProblemError as error:
        if not error.invalid:
            raise


PARSERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (any_file, csv_lines, json_lines, parquet, gzip, query)
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"expected one of {', '.join(PARSERS)}")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], PARSERS[sys.argv[1]])
    atheris.Fuzz()
