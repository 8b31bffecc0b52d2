"""Every time that is printed is in UTC and marked as such, whatever the time zone of the machine."""

import json
import os
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from ratesflow.workflow.cli import main
from ratesflow.workflow.client import executions
from ratesflow.workflow.client.executions import Execution
from ratesflow.workflow.timestamps import iso, moment

STARTED = datetime(2021, 1, 31, 12, 20, tzinfo=timezone(timedelta(hours=9)))  # boto3 gives the zone of the machine
LEDGER = {
    "batch_no": 1,
    "state": "committed",
    "rows": 3,
    "rejected_rows": 0,
    "seconds": {"validate": 0.1, "load": 0.1},
    "opened_at": "2021-01-31T12:20:00.5+09:00",
    "closed_at": None,
    "batch_id": "b",
    "message": None,
}


@pytest.fixture
def tokyo(monkeypatch):
    """A machine in Japan, whose stack has one batch."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    ended = STARTED + timedelta(seconds=66)
    found = Execution("arn:b", "b", "SUCCEEDED", STARTED, ended, {"key": "k"}, {"outcome": "committed", "rows": 3})
    monkeypatch.setattr(executions, "list_executions", lambda *_: [found])
    monkeypatch.setattr(
        "ratesflow.workflow.cli.commands.batches.batches.run_database_task", lambda *_: {"data": [LEDGER]}
    )
    monkeypatch.setattr("ratesflow.workflow.cli.context.CliContext.environment", lambda _: None)
    yield lambda *arguments: CliRunner().invoke(main, arguments).output
    monkeypatch.undo()
    os.environ.pop("TZ", None)
    time.tzset()


def test_executions_and_batches_print_utc(tokyo):
    """In Tokyo both lists print the same time in UTC; working time and total time have different column names."""
    head, line = tokyo("executions").splitlines()
    assert line.startswith("2021-01-31 03:20:00Z")
    assert "took" in head
    assert "1 min 6 s" in line
    head, line = tokyo("batches").splitlines()
    assert "2021-01-31 03:20:00Z" in line
    assert "worked" in head
    assert "took" not in head
    assert "0.20 s" in line
    assert json.loads(tokyo("executions", "--json"))[0]["started"] == "2021-01-31T03:20:00.000000Z"
    (row,) = json.loads(tokyo("batches", "--json"))
    assert (row["opened_at"], row["closed_at"]) == ("2021-01-31T03:20:00.500000Z", None)


def test_a_moment_without_a_zone_is_utc():
    """A time without a zone is taken as UTC; None becomes an empty text."""
    assert moment(datetime(2021, 1, 31, 3, 20)) == moment("2021-01-31T03:20:00+00:00") == "2021-01-31 03:20:00Z"
    assert iso(datetime(2021, 1, 31, tzinfo=UTC)) == "2021-01-31T00:00:00.000000Z"
    assert moment(None) == ""
