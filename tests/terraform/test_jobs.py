"""Terraform's job definitions and state machine are those of the Python code."""

import json
import re

import pytest

from ratesflow.workflow.job_definitions import (
    BATCH_TASKS,
    DEFINITIONS_FILE,
    MAINTENANCE_TASKS,
    definitions_text,
    job_definitions,
)
from ratesflow.workflow.job_definitions import JobSettings as Settings
from ratesflow.workflow.placeholders import definition_text, places
from ratesflow.workflow.settings import LONGEST_ENVIRONMENT, WorkflowSettings
from tests.terraform.sources import ROOT, keys, number, text, words

TASKS = [*BATCH_TASKS, *MAINTENANCE_TASKS]


def test_the_file_is_what_the_code_says():
    """`python -m ratesflow.workflow.job_definitions` writes the file that Terraform reads."""
    assert DEFINITIONS_FILE.read_text(encoding="utf-8") == definitions_text()


def test_each_task_has_its_own_rights():
    """A task that is added to the code must be given its rights."""
    assert sorted(keys("task_permissions", text("iam_tasks.tf"))) == sorted(TASKS)


def test_the_state_machine_submits_the_tasks_of_a_batch():
    """The role of the state machine may submit what its definition submits."""
    assert words("batch_tasks", text("jobs.tf")) == list(BATCH_TASKS)


def test_every_place_of_the_definition_is_filled():
    """Terraform gives each `${…}` of the definition a value, and none besides."""
    source = text("state_machine.tf")
    filled = re.search(r"templatefile\([^{]*\{(.*?)\n  \}\)", source, re.DOTALL)
    assert filled
    assert set(re.findall(r"^\s*(\w+)\s*=", filled[1], re.MULTILINE)) == places(definition_text())


def test_the_queue_gives_up_when_the_state_machine_does():
    """A job that can never run is cancelled after what its state allows for the queue."""
    assert number("queue_seconds", text("batch.tf")) == WorkflowSettings().queue_seconds


def test_the_longest_name_of_an_environment():
    """The workspace's name fits into the subject of a notification."""
    found = re.search(r"\[a-z\]\[a-z0-9-\]\{0,(\d+)\}\[a-z0-9\]", text("modules/environment/main.tf"))
    assert found
    assert int(found[1]) + 2 == LONGEST_ENVIRONMENT


@pytest.fixture(scope="module")
def dockerfile():
    """The last stage of the loader's image."""
    return (ROOT / "Dockerfile.loader").read_text(encoding="utf-8").split("\nFROM ")[-1]


def test_the_image_begins_every_command(dockerfile):
    """A job's command follows the image's entry point: together they are what the code says."""
    entry_point = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)[1])
    assert words("entry_point", text("jobs.tf")) == entry_point
    for job in job_definitions(Settings()):
        assert job["containerProperties"]["command"][: len(entry_point)] == entry_point


def test_the_scratch_space_belongs_to_the_images_user(dockerfile):
    """Fargate gives a mount to root, unless the image declares it a volume (Amazon ECS, "Use bind mounts")."""
    (path,) = re.findall(r'containerPath = "([^"]+)"', text("jobs.tf"))
    assert re.search(rf'^VOLUME (\["{path}"\]|{path})$', dockerfile, re.MULTILINE)
