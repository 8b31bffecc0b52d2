"""The engine knows no dataset: it reaches the tables of one only through the object that it is passed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratesflow.loader.dataset import UnknownCodes
from ratesflow.loader.freight.dataset import FreightPrices
from ratesflow.loader.freight.schema import ROWS

LOADER = Path(__file__).parents[2] / "loader"
ENGINE = sorted(path for room in ("tasks", "files", "batches", "runtime") for path in (LOADER / room).glob("*.py"))
SQL = re.compile(r"\s*(WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM|COPY \S+ \()")
PORTS = re.compile(r"(?<![a-z])ports?(?![a-z])", re.IGNORECASE)
FREIGHT = re.compile(r"\b(rates|prices|ports|regions|orig_code|dest_code|counts|sums|lanes)\b")


def statements(path: Path) -> Iterator[str]:
    """Yield the strings of a module that are SQL."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.value


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_sql_of_the_engine_names_no_table_or_column_of_freight_prices(path: Path) -> None:
    """Tasks, files, batches and the runtime have no SQL of prices, rates, ports or regions."""
    assert [text for text in statements(path) if FREIGHT.search(text)] == []


def test_the_engine_names_no_port() -> None:
    """Only the task that loads the reference data names ports; the dataset declares the keys of a report."""
    modules = {*ENGINE, LOADER / "dataset.py"} - {LOADER / "tasks" / "reference.py"}
    assert [path.name for path in sorted(modules) if PORTS.search(path.read_text(encoding="utf-8"))] == []
    assert PORTS.search("wrong.reason == UNKNOWN_PORT")
    assert ROWS.unknown_codes == UnknownCodes("unknown_port", counts="unknown_ports", others="more_unknown_ports")


def test_a_dataset_names_its_tables() -> None:
    """Freight prices are stored in `prices`, and derived rows in `rates`; the test above looks for both."""
    dataset = FreightPrices()
    assert (dataset.table, dataset.rollup.table) == ("prices", "rates")
    assert all(FREIGHT.search(table) for table in (dataset.table, dataset.rollup.table))
    assert sum(1 for path in ENGINE for _ in statements(path)) > 20
