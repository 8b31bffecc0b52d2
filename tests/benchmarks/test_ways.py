"""Every compared method loads the same rows into a server with the product's settings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.__main__ import main
from benchmarks.loading import copies, frameworks, lanes, ours
from benchmarks.loading.commits import reopen

ROWS = 3_000
SAME = "SELECT count(*), sum(price), count(DISTINCT (orig_code, dest_code, day)), min(day), max(day) FROM {}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Servers]:
    with servers.running(tmp_path_factory.mktemp("bench")) as found:
        copies.prepare(found)
        yield found


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lanes.write(tmp_path_factory.mktemp("batch") / "batch.csv", ROWS, seed=1)


@pytest.fixture(scope="module")
def expected(running: servers.Servers, batch: Path) -> list[tuple]:
    copies.copy(running, "bare", batch)
    return running.query(copies.DATABASE, SAME.format("bare"))


def test_server_waits_for_the_disk(running: servers.Servers):
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert running.query("postgres", f"SHOW {setting}") == [("on",)]


@pytest.mark.parametrize("table", sorted(copies.TABLES))
def test_copy_loads_the_batch(running: servers.Servers, batch: Path, expected: list[tuple], table: str):
    assert 0 < copies.copy(running, table, batch) < 60
    assert running.query(copies.DATABASE, SAME.format(table)) == expected
    assert expected[0][0] == ROWS


def test_only_the_bare_table_is_unlogged(running: servers.Servers, batch: Path):
    kinds = {}
    for table in copies.TABLES:
        copies.copy(running, table, batch)
        ((kinds[table],),) = running.query(
            copies.DATABASE, "SELECT relpersistence::text FROM pg_class WHERE relname = %s", table
        )
    assert kinds == {"bare": "u", "logged": "p", "indexed": "p", "first": "p"}


def test_first_schema_rejects_an_unknown_port(running: servers.Servers, tmp_path: Path):
    (tmp_path / "bad.csv").write_bytes(lanes.HEADER + b"XXXXX,NLRTM,2021-01-01,1\n")
    with pytest.raises(RuntimeError, match="foreign key"):
        copies.copy(running, "first", tmp_path / "bad.csv")


def test_pandas_loads_the_batch(running: servers.Servers, batch: Path, expected: list[tuple]):
    frameworks.to_sql(running, batch)
    assert running.query(copies.DATABASE, SAME.format("by_pandas")) == expected


@pytest.mark.skipif(
    not (frameworks.home() / ".ready").exists(), reason="run `make bench`, which creates dlt's environment"
)
def test_dlt_loads_the_batch_to_the_last_row(running: servers.Servers, batch: Path, expected: list[tuple]):
    frameworks.dlt_append(running, batch)
    # In a new process and in a warm one, with one row before each.
    assert running.query(copies.DATABASE, "SELECT count(*) FROM by_dlt.prices") == [(2 * (expected[0][0] + 1),)]


def test_our_tasks_load_the_batch_warm_and_as_processes(running: servers.Servers, batch: Path, expected: list[tuple]):
    warm, cold = running.new_database(), running.new_database()
    small = lanes.write(batch.with_name("small.csv"), 200, seed=2)
    first = ours.upload(running, small, warm)
    seconds = ours.run_warm(running, first, ours.upload(running, batch, warm))
    ran = ours.run_whole(running, ours.upload(running, batch, cold))
    assert list(seconds) == list(ran) == list(ours.STEPS)
    assert all(each.peak_mb > 10 for each in ran.values())
    assert running.query(cold, SAME.format("committed_prices")) == expected
    assert running.query(warm, "SELECT count(*) FROM committed_prices") == [(ROWS + 200,)]


def test_commit_can_be_reverted_and_repeated(running: servers.Servers, batch: Path):
    database = running.new_database()
    sent = ours.upload(running, batch, database)
    ours.run_whole(running, sent)
    reopen(running, sent)
    assert running.query(database, "SELECT count(*) FROM committed_prices") == [(0,)]
    ours.run_task(running, sent, "commit")
    assert running.query(database, "SELECT count(*) FROM committed_prices") == [(ROWS,)]


def test_failed_task_is_reported_with_its_log(running: servers.Servers, batch: Path):
    sent = ours.upload(running, batch, running.new_database())
    with pytest.raises(RuntimeError, match="never validated"):
        ours.run_task(running, sent, "load")


def test_users_aws_profile_is_not_used(running: servers.Servers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    environment = running.environment("bench_1")
    assert "AWS_PROFILE" not in environment
    assert environment["AWS_ENDPOINT_URL"] == running.endpoint
    assert os.environ["AWS_PROFILE"] == "production"


def test_unknown_part_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["laod"])
    assert ended.value.code == 2
    assert "unknown part laod" in capsys.readouterr().err
