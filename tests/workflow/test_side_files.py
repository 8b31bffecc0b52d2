"""Side files: files that other tools put beside a batch, or are still writing, are skipped by name."""

import json
from unittest.mock import Mock

import pytest

from ratesflow.loader.batches import inbox
from ratesflow.workflow.settings import SIDE_FILES
from ratesflow.workflow.trigger import handle, object_created
from tests.workflow.test_trigger import event

SIDE = [
    *("_SUCCESS", "_success", "a/_SUCCESS", "_committed_123", "_started_9", "_temporary/0/prices.csv", ".hidden.csv"),
    *("prices.csv.md5", "prices.csv.sha256", "prices.csv.tmp", "PRICES.CSV.TMP", "prices.csv.part", ".prices.csv.crc"),
    *("prices.csv.filepart", "manifest.json", ".spark-staging-1/prices.csv", "prices.csv~"),
]
BATCHES = [
    "prices.csv",
    "_prices.csv",
    "success.csv",
    "md5.csv",
    "a/../prices.csv",
    "tmp.csv",
    "part-00000.csv",
    "tmp/x",
]
DEFAULT = ",".join(SIDE_FILES)


def test_side_files_are_skipped_and_counted(caplog):
    """A side file starts no execution, goes to no dead-letter queue, and is counted in one line of the log."""
    records = [
        {"messageId": name, "body": json.dumps(event(f"incoming/{name}"))}
        for name in ("_SUCCESS", "prices.csv.tmp", "prices.csv")
    ]
    stepfunctions = Mock()
    settings = {"RATESFLOW_SIDE_FILES": DEFAULT, "RATESFLOW_STATE_MACHINE_ARN": "arn"}
    with caplog.at_level("INFO", "ratesflow.trigger"):
        assert handle({"Records": records}, settings, stepfunctions, Mock()) == {"batchItemFailures": []}
    ((_, started),) = stepfunctions.start_execution.call_args_list
    assert started["name"].startswith("prices-")
    assert "skipped 2 of 3: side files or folders" in caplog.messages


@pytest.mark.parametrize("patterns", [DEFAULT, "", " , *.X ,[a-c]?"])
@pytest.mark.parametrize("name", [*SIDE, *BATCHES, "a.x", "b1", "folder/"])
def test_gc_and_trigger_skip_the_same_files(monkeypatch, name, patterns):
    """gc does not treat files that the trigger skips as lost, and the reverse, for any patterns."""
    key = f"incoming/{name}"
    monkeypatch.setenv("RATESFLOW_SIDE_FILES", patterns)
    started = object_created(event(key), {"RATESFLOW_SIDE_FILES": patterns}) is not None
    assert inbox.is_batch(key) == started
    if patterns == DEFAULT:
        assert started == (name in (*BATCHES, "a.x", "b1"))
