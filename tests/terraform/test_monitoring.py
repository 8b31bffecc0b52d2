"""Alarms and dashboard use existing metrics, and have sections in the runbook."""

import json
import re

from ratesflow.api.server.metrics import NAMESPACE as API_NAMESPACE
from ratesflow.api.server.metrics import UNITS as API_UNITS
from ratesflow.api.server.metrics import Metrics
from ratesflow.loader.runtime import metrics as loader_metrics
from tests.terraform.sources import ROOT, keys, text

ALARMS = ("alarms_workflow.tf", "alarms_api.tf", "alarms_database.tf")
RUNBOOK = ROOT / "docs" / "operations.md"


def watched(namespace):
    """Return the metrics of a namespace in alarms, with the expression of their dimensions."""
    pattern = rf'namespace = "{namespace}", name = "(\w+)", dimensions = (.*?), stat'
    return re.findall(pattern, text(*ALARMS))


def alarm_names():
    """Return the short names of all alarms."""
    maps = [("workflow_alarms", ALARMS[0]), ("api_alarms", ALARMS[1]), ("database_alarms", ALARMS[2])]
    return [name for local, file in maps for name in keys(local, text(file))]


def test_alarms_of_tasks():
    """Each metric in an alarm is written by the loader, with the same dimensions."""
    found = watched(loader_metrics.NAMESPACE)
    assert found
    dimensions = {"local.by_environment": ["Environment"]}
    dimensions['merge(local.by_environment, { Outcome = "rejected" })'] = ["Environment", "Outcome"]
    for name, by in found:
        assert name in loader_metrics.UNITS
        written = loader_metrics.OUTCOME_DIMENSIONS if name == "Batches" else loader_metrics.DIMENSIONS
        assert dimensions[by] in written, name


def test_alarms_of_the_api():
    """Each metric in an alarm is written by the API, with the same dimensions."""
    found = watched(API_NAMESPACE)
    assert found
    line = json.loads(Metrics().line())
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    (by_service,) = re.findall(r"by_service = \{ (.*) \}", text("alarms_api.tf"))
    given = dict(re.findall(r'(\w+) = ("\w+"|[\w.]+)', by_service))
    assert directive["Dimensions"] == [list(given)]
    assert all(name in line for name in given)
    assert json.loads(given["Service"]) == line["Service"]
    assert {name for name, _ in found} <= set(API_UNITS)


def test_every_alarm_has_a_section_of_the_runbook():
    """Who is woken by an alarm finds its section by the alarm's name."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    assert {*alarm_names(), "task-failed"} <= anchors


def test_alarm_names_have_one_format():
    """Alarm names have lower-case letters and hyphens only, as anchors do."""
    names = alarm_names()
    assert len(names) == len(set(names)) > 15
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)+", name) for name in names)
