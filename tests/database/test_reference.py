"""Reference data: reading, validation, and the rates when a port moves."""

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ratesflow.database import reference, reference_change, region_rates
from ratesflow.database.reference import Port, Reference, ReferenceDataError, Region
from ratesflow.database.region_rates import fit_tree
from ratesflow.database.versions import make_visible
from tests.fix_database import Database
from tests.loader.tasks.test_plans import PlanCursor
from tests.tree import DISAGREE

PORTS = "code,name,parent_slug\nCNSHA,Shanghai,east\nNLRTM,Rotterdam,west\n"
REGIONS = "slug,name,parent_slug\nworld,World,\neast,East,world\nwest,West,world\n"


def read(ports: str = PORTS, regions: str = REGIONS) -> Reference:
    return reference.read_reference(io.StringIO(ports), io.StringIO(regions))


def test_columns_may_have_any_order_with_a_bom_and_crlf() -> None:
    """A file in the format of spreadsheets is read like a plain one."""
    ports = "\ufeffparent_slug,code,name\r\neast,CNSHA,Shanghai\r\nwest,NLRTM,Rotterdam\r\n"
    assert read(ports=ports) == read()


def test_builtin_reference_is_valid() -> None:
    """The built-in ports and regions have no orphan and no cycle."""
    known = reference.builtin()
    reference.check(known)
    assert len(known.ports) > 50
    assert known.regions_of["CNSHA"] == ("china_east_main", "china_main", "asia")


@pytest.mark.parametrize(
    ("ports", "regions", "message"),
    [
        (PORTS + "cnsha,Shanghai,east\n", REGIONS, "ports, line 4: code 'cnsha' is not"),
        (PORTS + "CNSHA,Shanghai,east\n", REGIONS, "ports, line 4: CNSHA is already on line 2"),
        (PORTS + "CNNBO,Ningbo,\n", REGIONS, "ports, line 4: port CNNBO has no region"),
        (PORTS + "CNNBO,Ningbo\n", REGIONS, "ports, line 4: there must be three fields"),
        (PORTS + "CNNBO,,east\n", REGIONS, "ports, line 4: CNNBO has no name"),
        (PORTS, REGIONS + "East,East,\n", "regions, line 5: slug 'East' is not"),
        ("code,name\nCNSHA,Shanghai\n", REGIONS, "must name the columns code,name,parent_slug"),
        ("", REGIONS, "must name the columns"),
        (PORTS + "CNNBO,Nin\0gbo,east\n", REGIONS, r"ports, line 4, name: character 4 is a control character, U\+0000"),
        (
            PORTS,
            REGIONS + 'isle,"Is\nle",world\n',
            r"regions, line 6, name: character 3 is a control .* U\+000A: remove it",
        ),
        (PORTS + f"CNNBO,{'N' * 100_000},east\n", REGIONS, "ports, line 4, name: 100,000 characters; at most 200"),
        (
            PORTS,
            REGIONS + f"{'s' * 101},Isle,world\n",
            "regions, line 5, slug: 101 characters; at most 100 are allowed",
        ),
    ],
)
def test_malformed_row_is_reported_with_its_line(ports: str, regions: str, message: str) -> None:
    """The error names the file, the line and the reason."""
    with pytest.raises(ReferenceDataError, match=message):
        read(ports, regions)


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (
            PORTS.encode() + "PTSIE,Sines é,west\nBRSSZ,São,west\n".encode("latin-1"),
            r"ports, line 4, column 13: .* 0xE9",
        ),
        (PORTS.encode() + "PTSIE,Sinès,west\nBRSSZ,S".encode() + b"\xe3o,west\n", r"ports, line 5, column 8: .* 0xE3"),
        (PORTS.encode("utf-16"), "ports: this is UTF-16: save it as UTF-8"),
        (PORTS.encode("utf-16-be"), "ports: the first line must name the columns"),
    ],
    ids=["Latin-1", "after UTF-8", "UTF-16", "UTF-16 without a BOM"],
)
def test_other_encoding_is_reported_with_its_position(ports: bytes, message: str, tmp_path: Path) -> None:
    """The error about a file that is not UTF-8 has the position and the remedy, however the file is read."""
    with pytest.raises(ReferenceDataError, match=message):
        reference.read_reference(reference.decoded(ports, "ports"), io.StringIO(REGIONS))
    (tmp_path / "ports.csv").write_bytes(ports)
    (tmp_path / "regions.csv").write_text(REGIONS)
    with pytest.raises(ReferenceDataError, match=message):
        reference.read_files(tmp_path / "ports.csv", tmp_path / "regions.csv")


@pytest.mark.parametrize(
    ("ports", "regions", "message"),
    [
        (PORTS + "CNNBO,Ningbo,nowhere\n", REGIONS, "port CNNBO: there is no region 'nowhere'"),
        (PORTS, REGIONS + "isle,Isle,nowhere\n", "region isle: there is no region 'nowhere'"),
        (PORTS, REGIONS + "a,A,b\nb,B,a\n", "region a: regions form a cycle: a -> b -> a"),
        (PORTS, REGIONS.replace("world,World,", "world,World,east"), "cycle"),
    ],
)
def test_orphans_and_cycles_are_rejected_and_nothing_changes(
    database18: Database, ports: str, regions: str, message: str
) -> None:
    """An invalid tree is rejected, and the database is unchanged."""
    before = database18.snapshot()
    connection = database18.connect(database18.loader_url)
    with pytest.raises(ReferenceDataError, match=message):
        reference_change.load(connection, read(ports, regions))
    connection.close()
    assert database18.snapshot() == before
    assert database18.one("SELECT count(*) FROM ports WHERE code = 'CNNBO' AND parent_slug = 'nowhere'") == 0


def load(database: Database, new: Reference) -> reference_change.ReferenceChange:
    connection = database.connect(database.loader_url)
    try:
        return reference_change.load(connection, new)
    finally:
        connection.close()


def test_loading_adds_and_updates_and_never_removes(database: Database) -> None:
    """New rows are added, existing ones updated, and rows that are not in the files are kept."""
    change = load(database, read())
    assert (change.added, change.changed) == (3, 2)  # three regions are new, two ports moved
    assert database.one("SELECT parent_slug FROM ports WHERE code = 'CNSHA'") == "east"
    assert database.one("SELECT count(*) FROM ports") == len(reference.builtin().ports)


def test_loading_the_same_data_again_changes_nothing(database: Database) -> None:
    """Loading identical data changes neither the data version nor the reference version."""
    load(database, read())
    before = database.query("SELECT (SELECT version FROM data_version), (SELECT version FROM reference_version)")
    load(database, read())
    after = database.query("SELECT (SELECT version FROM data_version), (SELECT version FROM reference_version)")
    assert before == after


def _add_batch(database: Database, number: int, lanes: dict[tuple[str, str], int], *, visible: bool = True) -> None:
    """Insert the rates of a batch into one month, with those of regions by the current tree."""
    connection = database.connect(database.loader_url)
    with connection, connection.cursor() as cursor:
        for (orig, dest), count in lanes.items():
            values = (number, orig, dest, [count] * 28, [count * 500] * 28)
            cursor.execute("INSERT INTO rates VALUES (%s, '2021-02-01', %s, %s, %s, %s)", values)
        fit_tree(cursor, number, None)
        if visible:
            make_visible(cursor, number)
    connection.close()


def _regions(database: Database) -> dict[tuple[str, str], int]:
    """Return the number of prices of each lane between regions on the first day of the month."""
    found = database.query(
        "SELECT orig_code, dest_code, sum(counts[1])::integer FROM rates JOIN visible_batches USING (batch_no)"
        " WHERE orig_code IN (SELECT slug FROM regions) GROUP BY 1, 2 HAVING sum(counts[1]) <> 0"
    )
    return {(orig, dest): count for orig, dest, count in found}


def test_prices_move_with_their_port(database: Database) -> None:
    """When a port moves, its prices leave the regions of the old tree and enter those of the new one."""
    load(database, read())
    _add_batch(database, 7, {("CNSHA", "NLRTM"): 1, ("NLRTM", "CNSHA"): 4})
    _add_batch(database, 8, {("CNSHA", "NLRTM"): 2})
    moved = Reference({"CNSHA": Port("CNSHA", "Shanghai", "far")}, {"far": Region("far", "Far East", "east")})
    change = load(database, moved)
    assert set(change.rebuilt) == {"far"}
    above = [("far", "west", 3), ("east", "west", 3), ("west", "far", 4), ("west", "east", 4)]
    above += [("far", "world", 3), ("east", "world", 3), ("world", "far", 4), ("world", "east", 4)]
    above += [("world", "west", 3), ("west", "world", 4), ("world", "world", 7)]
    assert _regions(database) == {(orig, dest): count for orig, dest, count in above}
    change = load(database, Reference({"CNSHA": Port("CNSHA", "Shanghai", "west")}, {}))
    assert set(change.rebuilt) == {"east", "far", "west"}
    lanes = {("west", "west"): 7, ("west", "world"): 7, ("world", "west"): 7, ("world", "world"): 7}
    assert _regions(database) == lanes
    assert database.query(DISAGREE) == []


def test_prices_move_with_their_region(database: Database) -> None:
    """When a region moves, the rates of all regions above its old and new parent include old and new prices."""
    load(database, read())
    _add_batch(database, 7, {("CNSHA", "NLRTM"): 1, ("NLRTM", "CNSHA"): 2, ("CNSHA", "CNSHA"): 3})
    load(database, Reference({}, {"asia": Region("asia", "Asia", "world"), "east": Region("east", "East", "asia")}))
    assert _regions(database)["asia", "west"] == 1
    assert _regions(database)["world", "world"] == 6
    load(database, Reference({}, {"east": Region("east", "East", None)}))
    assert ("asia", "west") not in _regions(database)
    _add_batch(database, 8, {("CNSHA", "NLRTM"): 5})
    assert _regions(database)["east", "west"] == 6
    assert database.query(DISAGREE) == []


def test_batches_committed_during_a_tree_change_are_moved(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that become visible at any moment of a tree change are counted by the new tree afterwards."""
    load(database, read())
    _add_batch(database, 7, {("CNSHA", "NLRTM"): 1})
    before_switch = iter((8, 9, 10))
    move = region_rates.move_rates

    def move_and_commit(*arguments: Any) -> None:
        move(*arguments)
        if number := next(before_switch, None):
            _add_batch(database, number, {("CNSHA", "NLRTM"): 1, ("NLRTM", "CNSHA"): 2})

    monkeypatch.setattr("ratesflow.database.reference_change.move_rates", move_and_commit)
    many = iter((10**9, 10**9))  # pretended remaining rows: two more rounds
    monkeypatch.setattr("ratesflow.database.reference_change._rows_of", lambda *_: next(many, 0))
    load(database, Reference({"CNSHA": Port("CNSHA", "Shanghai", "west")}, {}))
    assert database.query(DISAGREE) == []
    assert _regions(database)["west", "west"] == 10


def test_killed_tree_change_leaves_the_old_tree(database18: Database) -> None:
    """A change that is killed before its switch has no effect; the next one drops its hidden rates."""
    load(database18, read())
    _add_batch(database18, 7, {("CNSHA", "NLRTM"): 1})
    seen = _regions(database18)
    moved = Reference({"CNSHA": Port("CNSHA", "Shanghai", "west")}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ratesflow.database.reference_change._switch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load(database18, moved)
    assert _regions(database18) == seen
    assert database18.one("SELECT count(*) FROM changes WHERE version IS NULL") == 1
    load(database18, moved)
    assert database18.query("SELECT FROM changes WHERE version IS NULL") == []
    assert database18.query(DISAGREE) == []
    assert database18.query("SELECT FROM rates WHERE batch_no NOT IN (SELECT batch_no FROM visible_batches)") == []


def test_switch_does_little_work_under_its_lock(database18: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches committed while the switch waits are moved before its next attempt, not under its lock."""
    load(database18, read())
    _add_batch(database18, 7, {("CNSHA", "NLRTM"): 1})
    switches, left = [], iter((10**9,))
    switch = reference_change._switch

    def watched(cursor: Any, *arguments: Any) -> int:
        switches.append(1)
        if len(switches) == 1:  # pretends that much was committed meanwhile
            monkeypatch.setattr("ratesflow.database.reference_change._rows_of", lambda *_: next(left, 0))
            _add_batch(database18, 8, {("CNSHA", "NLRTM"): 2})
        return switch(cursor, *arguments)

    monkeypatch.setattr("ratesflow.database.reference_change._switch", watched)
    load(database18, Reference({"CNSHA": Port("CNSHA", "Shanghai", "west")}, {}))
    assert len(switches) == 2
    assert _regions(database18)["west", "west"] == 3
    assert database18.query(DISAGREE) == []


def test_move_reads_only_new_batches(database18: Database) -> None:
    """The rates of batches committed meanwhile are read by index, however many compacted rates there are."""
    load(database18, read())
    codes = [f"QQ{chr(65 + number // 26)}{chr(65 + number % 26)}A" for number in range(150)]
    load(database18, Reference({code: Port(code, "Q", "east") for code in codes}, {}))
    database18.query(
        "INSERT INTO rates SELECT 0, make_date(year, 3, 1), orig.code, dest.code, array_fill(1::bigint, '{31}'),"
        " array_fill(9::bigint, '{31}') FROM ports AS orig, ports AS dest, generate_series(2015, 2017) AS year"
    )
    meanwhile = list(range(1, 151))
    for number in meanwhile:
        database18.query(
            "INSERT INTO rates VALUES (%s, '2021-02-01', 'CNSHA', 'NLRTM', array_fill(1::bigint, '{28}'),"
            " array_fill(9::bigint, '{28}'))",
            number,
        )
    database18.query("ANALYZE rates")
    with closing(database18.connect()) as connection, connection.cursor(cursor_factory=PlanCursor) as cursor:
        old, _ = reference.stored(cursor)
        new = Reference({**old.ports, "CNSHA": Port("CNSHA", "Shanghai", "west")}, old.regions)
        PlanCursor.work.clear()
        region_rates.move_rates(cursor, reference_change.FIRST_MOVE + 1, old, new, meanwhile, ["CNSHA"])
    (touched,) = (rows for statement, rows in PlanCursor.work.items() if "both_ways" in statement)
    assert touched < 60_000 < database18.one("SELECT count(*) FROM rates")
