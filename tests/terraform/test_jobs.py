"""Terraform's job definitions and state machine match the Python code."""

import json
import re

import pytest

from ratesflow.loader import job_definitions as generator
from ratesflow.loader.tasks.registry import FOLDER, all_tasks, find_task, task_names
from ratesflow.local import scheduler
from ratesflow.workflow.job_definitions import BATCH_TASKS, DEFINITIONS_FILE, ENTRY_POINT, TASKS
from ratesflow.workflow.placeholders import definition_text, placeholders
from ratesflow.workflow.settings import JOB_PLACEHOLDERS, LONGEST_ENVIRONMENT, WorkflowSettings
from tests.terraform.sources import ROOT, keys, number, text


@pytest.mark.parametrize("path", generator.files(), ids=lambda path: path.name)
def test_generated_files_match_the_declarations(path):
    """The generated job definitions, table and schema are up to date."""
    assert path.read_text(encoding="utf-8") == generator.files()[path]


def test_workflow_reads_the_generated_file():
    """The workflow and Terraform read the file that the loader writes."""
    assert generator.DEFINITIONS == DEFINITIONS_FILE
    assert 'file("${path.module}/../workflow/job_definitions.json")' in text("jobs.tf")
    assert list(TASKS) == task_names()


def test_every_task_is_found_by_its_name():
    """Exactly the modules with a TASK are listed, each with the name of its file."""
    assert {task.name for task in all_tasks()} == set(task_names())
    assert [find_task(path.stem) is None for path in FOLDER.glob("*.py")].count(False) == len(task_names())
    assert find_task("../__main__") is find_task("nosuch") is find_task("registry") is None


def test_every_permission_is_defined_in_terraform():
    """The permissions of the declarations are exactly those that iam_tasks.tf defines."""
    assert {permission for task in TASKS.values() for permission in task.permissions} == set(
        keys("may", text("iam_tasks.tf"))
    )


def test_every_login_has_an_execution_role():
    """Each login of a declaration has a role that starts its containers."""
    executions = keys("executions", text("iam_execution.tf"))
    assert {f"tasks-{task.login}" for task in TASKS.values()} == {name for name in executions if name != "api"}


def test_every_placeholder_of_the_definition_has_a_value():
    """Terraform sets each `${…}` placeholder of the definition."""
    source = text("state_machine.tf")
    filled = re.search(r"templatefile\(.*?\{(.*?)\n    \},\n    \{ for task in local.batch_tasks", source, re.DOTALL)
    assert filled
    given = set(re.findall(r"^\s*(\w+)\s*=", filled[1], re.MULTILINE))
    assert '"${title(task)}JobDefinition" => aws_batch_job_definition.task[task].arn' in source
    assert {task.name: f"{task.name.title()}JobDefinition" for task in BATCH_TASKS} == JOB_PLACEHOLDERS
    assert given <= placeholders(definition_text()) <= given | set(JOB_PLACEHOLDERS.values())


def test_queue_and_state_machine_have_the_same_time_limit():
    """A job that cannot start is cancelled after its state's time limit for the queue."""
    assert number("queue_seconds", text("batch.tf")) == WorkflowSettings().queue_seconds


def test_longest_environment_name():
    """The longest workspace name fits into the subject of a notification."""
    found = re.search(r"\[a-z\]\[a-z0-9-\]\{0,(\d+)\}\[a-z0-9\]", text("modules/environment/main.tf"))
    assert found
    assert int(found[1]) + 2 == LONGEST_ENVIRONMENT


@pytest.fixture(scope="module")
def dockerfile():
    """The last stage of the loader's image."""
    return (ROOT / "Dockerfile.loader").read_text(encoding="utf-8").split("\nFROM ")[-1]


def test_job_commands_follow_the_entry_point(dockerfile):
    """The embedded stack starts jobs with the image's entry point."""
    entry_point = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)[1])
    assert list(ENTRY_POINT) == entry_point


def test_scratch_space_is_a_volume_of_the_image(dockerfile):
    """The image declares the scratch space a volume; else Fargate mounts it for root (ECS, "Use bind mounts")."""
    (path,) = re.findall(r'containerPath = "([^"]+)"', text("jobs.tf"))
    assert re.search(rf'^VOLUME (\["{path}"\]|{path})$', dockerfile, re.MULTILINE)


def test_the_embedded_stack_has_the_schedules_of_terraform():
    """The embedded stack runs the tasks of schedules.tf, which exist, and compacts at as many batches as by default."""
    source = text("schedules.tf", "variables_upkeep.tf")
    assert list(scheduler.TASKS) == keys("schedules", source)
    assert set(scheduler.TASKS) <= set(TASKS)
    least = re.search(r'"compact_min_batches" \{.*?default +=\s*(\d+)', source, re.DOTALL)
    assert least
    assert {"gc": {}, "compact": {"min_batches": least[1]}} == scheduler.TASKS
