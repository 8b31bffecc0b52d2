"""The settings that Terraform passes to commands, functions and containers are those that they read."""

import inspect
import re

import ratesflow.api.__main__ as api_main
from ratesflow.api.server import wsgi
from ratesflow.loader.runtime import metrics
from ratesflow.workflow import trigger
from ratesflow.workflow.client.environment import NEEDED, OPTIONAL, parameter_name
from ratesflow.workflow.settings import IGNORED_FILES
from tests.terraform.replaced import REPLACING
from tests.terraform.sources import TERRAFORM, keys, number, text, variables


def test_parameters_are_what_the_command_line_reads():
    """Every required parameter is published, and none that the command line does not read."""
    published = {f"/ratesflow/dev/{key}" for key in keys("parameters", text("parameters.tf"))}
    assert published >= {parameter_name(name, "dev") for name in NEEDED}
    assert published <= {parameter_name(name, "dev") for name in (*NEEDED, *OPTIONAL)}


def test_trigger_knows_its_settings():
    """The trigger gets only settings that it knows, and all required ones."""
    given = set(re.findall(r"^\s*(RATESFLOW_\w+)\s*=", text("trigger.tf"), re.MULTILINE))
    known = set(re.findall(r"RATESFLOW_[A-Z_]+", inspect.getsource(trigger)))
    assert given <= known
    assert {"RATESFLOW_STATE_MACHINE_ARN", "RATESFLOW_DEAD_LETTER_QUEUE_URL"} <= given


def test_ignored_files_are_the_same_everywhere():
    """Trigger and gc are given one list, and the default is that of the embedded stack."""
    default = re.search(r'variable "ignored_files" \{.*?default = \[(.*?)\]\n', text("variables_inbox.tf"), re.DOTALL)
    assert tuple(re.findall(r'"([^"]+)"', default[1])) == IGNORED_FILES
    for file in ("trigger.tf", "jobs.tf"):
        assert re.search(r'RATESFLOW_IGNORED_FILES\s*= join\(",", var.ignored_files\)', text(file))


def test_api_reads_its_settings():
    """The API's container gets only settings that it reads."""
    given = set(keys("api_environment", text("api.tf").replace("merge(\n    {", "{\n", 1)))
    given |= set(re.findall(r"^\s*(RATESFLOW_API_\w+)\s*=", text("api.tf"), re.MULTILINE))
    known = set(re.findall(r"RATESFLOW_API_[A-Z_]+", inspect.getsource(wsgi) + inspect.getsource(api_main)))
    assert given
    assert {name for name in given if name.startswith("RATESFLOW_API_")} <= known


def test_loader_reads_its_settings():
    """Tasks get only settings that the loader reads."""
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for part in ("loader", "database")
        for path in (TERRAFORM.parent / part).rglob("*.py")
    )
    given = set(re.findall(r"^\s*(RATESFLOW_\w+|DATABASE_\w+)\s*=", text("jobs.tf"), re.MULTILINE))
    assert metrics.VARIABLE in given
    assert {name for name in given if not re.search(rf'"{name}"|`{name}`', source)} == set()


def test_requests_finish_before_their_task_is_killed():
    """Drain, stop and kill timeouts exceed what they wait for; the load balancer closes idle connections first."""
    service, balancer = text("api.tf"), text("load_balancer.tf")
    seconds = float(re.search(r'"RATESFLOW_API_TIMEOUT_SECONDS", ([0-9.]+)', inspect.getsource(wsgi))[1])
    assert number("deregistration_delay", balancer) > seconds
    assert api_main.KILL_AFTER_SECONDS < number("stopTimeout", service) <= 120
    assert number("idle_timeout", balancer) * 1000 < api_main.IDLE_MILLISECONDS
    assert number("api_port", service) == 3000


def test_own_tags_cannot_be_overridden():
    """The budget counts by Environment, and the rights of the pipeline go by it: `tags` adds to them alone."""
    (merged,) = re.findall(r"^  tags = merge\((.*)\)$", text("workspace.tf"), re.MULTILINE)
    assert merged.startswith("var.tags, {")


def test_it_is_known_what_replaces_each_resource():
    """A type that is new must be looked up before a plan that changes it is trusted."""
    files = "".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    assert set(re.findall(r'^resource "(aws_\w+)"', files, re.MULTILINE)) - set(REPLACING) == set()


def test_environments_set_only_existing_variables():
    """The files of the environments set only existing variables."""
    files = sorted((TERRAFORM / "environments").glob("*.tfvars"))
    assert [file.stem for file in files] == ["dev", "production", "sandbox", "staging"]
    for file in files:
        named = set(re.findall(r"^(\w+)\s*=", file.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= variables(), file.name
