"""The state machine that the code builds, and its generated file."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from state_parameters import wrong_parameters

from ratesflow.workflow.job_definitions import BATCH_TASKS, TASKS, JobSettings, job_definitions
from ratesflow.workflow.placeholders import DEFINITION_FILE, definition_text, placeholders, substitute
from ratesflow.workflow.settings import LONGEST_ENVIRONMENT, WorkflowSettings
from ratesflow.workflow.trigger import execution_name

ASL = Path(__file__).with_name("asl")
CACHE = Path(sys.prefix) / "asl"
PLACEHOLDERS = {
    "JobQueue",
    "ValidateJobDefinition",
    "LoadJobDefinition",
    "CommitJobDefinition",
    "DiscardJobDefinition",
    "TopicArn",
    "Bucket",
    "Environment",
}
OUTCOME_STATES = ("Committed", "Rejected", "Duplicate", "DuplicateAtCommit", "AlreadyClosed", "Failed", "DiscardFailed")


@pytest.fixture(scope="module")
def machine():
    return json.loads(definition_text())


@pytest.fixture(scope="module")
def language_service():
    """The AWS language service, as a function from a machine to its errors."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("install node and npm (on Debian: apt-get install nodejs npm) for the AWS language service")
    lock = (ASL / "package-lock.json").read_bytes()
    if not (CACHE / "installed.json").exists() or (CACHE / "installed.json").read_bytes() != lock:
        CACHE.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ASL / name, CACHE)
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(install, cwd=CACHE, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"run this where npm reaches its registry; npm ci failed: {done.stderr.strip()[-300:]}")
        (CACHE / "installed.json").write_bytes(lock)
    shutil.copy(ASL / "check.mjs", CACHE)

    def check(machine, tmp_path):
        file = tmp_path / "machine.asl.json"
        file.write_text(json.dumps(machine))
        done = subprocess.run(["node", "check.mjs", file], cwd=CACHE, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return check


def jobs_of(machine):
    return {n: s for n, s in machine["States"].items() if s.get("Resource", "").endswith("submitJob.sync")}


def tasks_of(machine):
    return {n: s for n, s in machine["States"].items() if s["Type"] == "Task"}


def next_states(state):
    yield from (rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])])
    yield from (state[field] for field in ("Next", "Default") if field in state)


def test_file_is_what_the_code_builds():
    """definition.asl.json is what the code builds; `python -m ratesflow.workflow.definition` writes it."""
    from ratesflow.workflow.definition import definition_json, ingestion_workflow

    assert DEFINITION_FILE.read_text() == definition_json(ingestion_workflow())


def test_importing_the_sdk_leaves_the_root_logger_alone():
    """Building the definition neither prints, nor silences the loggers of the program, nor replaces its excepthook."""
    code = (
        "import logging, sys, ratesflow.workflow.definition\n"
        "print(logging.getLogger().level, sys.excepthook is sys.__excepthook__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("30 True", "")


def test_language_service_accepts_the_definition(machine, language_service, tmp_path):
    """The AWS language service accepts the definition."""
    assert language_service(machine, tmp_path) == []


def test_language_service_finds_a_missing_state(machine, language_service, tmp_path):
    """The AWS language service finds a transition to a missing state and an unknown field."""
    broken = copy.deepcopy(machine)
    broken["States"]["Commit"]["Next"] = "Nowhere"
    broken["States"]["Load"]["ResultSelecter"] = {}
    found = " ".join(language_service(broken, tmp_path))
    assert "must be the name of an existing state" in found
    assert "Field is not supported" in found


def test_parameters_are_those_of_the_services(machine):
    """Batch, S3 and SNS accept the Parameters of every state that calls them."""
    assert wrong_parameters(machine) == []


@pytest.mark.parametrize(
    ("state", "old", "new", "expected"),
    [
        ("Load", "JobQueue", "JobQeue", "JobQeue"),
        ("LoadShards", "ArrayProperties", "arrayProperties", "arrayProperties"),
        ("Notify", "Subject.$", "Subjekt.$", "Subjekt"),
        ("ReadLoadResult", "Key.$", "ObjectKey.$", "ObjectKey"),
    ],
)
def test_misspelt_parameter_is_found(machine, state, old, new, expected):
    """A parameter that the service does not know is found."""
    broken = copy.deepcopy(machine)
    parameters = broken["States"][state]["Parameters"]
    parameters[new] = parameters.pop(old)
    assert any(expected in problem for problem in wrong_parameters(broken))


def test_every_state_is_reached(machine):
    """Every state can be reached, and no transition leads to a missing state."""
    reached, ahead = set(), [machine["StartAt"]]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += next_states(machine["States"][name])
    assert reached == set(machine["States"])


def test_every_task_catches_and_retries(machine):
    """Every Task state has a timeout, catches every error, and retries errors of its service with full jitter."""
    for name, state in tasks_of(machine).items():
        assert [c["ErrorEquals"] for c in state["Catch"]] == [["States.ALL"]], name
        retry = state["Retry"][-1]
        assert retry["JitterStrategy"] == "FULL", name
        assert retry["MaxDelaySeconds"] == 60, name
        assert state["TimeoutSeconds"] > 0, name


def test_failed_jobs_are_retried_by_batch_alone(machine):
    """No retry of the state machine matches a job that failed or timed out: Batch has already retried it."""
    for name, state in jobs_of(machine).items():
        for retry in state["Retry"]:
            assert all(error.startswith("Batch.") for error in retry["ErrorEquals"]), name


def test_the_main_states_come_first(machine):
    """The file begins with validate, load, commit and notify."""
    assert list(machine["States"])[:4] == ["Validate", "Load", "Commit", "Notify"]


def test_only_declared_outcomes_have_a_branch():
    """A branch for an outcome that the task does not declare is an error when the definition is built."""
    from ratesflow.workflow.task_states import outcome_is

    assert outcome_is("commit", "committed").to_dict()["StringEquals"] == "committed"
    with pytest.raises(ValueError, match="commit has no outcome 'accepted': it declares committed, duplicate"):
        outcome_is("commit", "accepted")


def test_jobs_time_out_after_the_queue_and_all_attempts(machine):
    """The state of a job lasts at most as long as the wait in the queue and the time limit of each attempt."""
    for name, state in jobs_of(machine).items():
        task = TASKS[name.removesuffix("Shards").lower()]
        assert state["TimeoutSeconds"] == 3600 + task.attempts * task.run_seconds


def test_jobs_get_the_parameters_of_their_commands(machine):
    """Each state passes the parameters that the `Ref::name` of its job's command name."""
    commands = {d["jobDefinitionName"]: d["containerProperties"]["command"] for d in job_definitions(JobSettings())}
    for name, state in jobs_of(machine).items():
        command = commands[f"ratesflow-{name.removesuffix('Shards').lower()}"]
        named = {part.removeprefix("Ref::") for part in command if part.startswith("Ref::")}
        assert named == {key.removesuffix(".$") for key in state["Parameters"]["Parameters"]}


def test_job_descriptions_stay_out_of_the_state(machine):
    """No description of a job enters the state, where it would fill the payload and the graph of the console."""
    assert all(state["ResultPath"] is None for state in jobs_of(machine).values())
    assert machine["States"]["RecordError"]["ResultPath"] == "$.error"


def test_arrays_begin_at_two(machine):
    """One shard runs as a plain job and more as an array job, in states of their own."""
    for task in ("Validate", "Load"):
        choice = machine["States"][f"{task}InShards?"]
        assert choice["Choices"] == [{"Variable": "$.shards", "NumericLessThanEquals": 1, "Next": task}]
        assert choice["Default"] == f"{task}Shards"
        assert machine["States"][f"{task}Shards"]["Parameters"]["ArrayProperties"] == {"Size.$": "$.shards"}


def test_every_notification_has_the_same_fields(machine):
    """The notification has the same fields for every outcome."""
    fields = [{k.removesuffix(".$") for k in machine["States"][name]["Parameters"]} for name in OUTCOME_STATES]
    assert all(found == fields[0] for found in fields)
    assert {"outcome", "batch_id", "rows", "rejected_rows", "report", "seconds", "message"} <= fields[0]


def test_longest_subject_fits(machine):
    """The longest environment, outcome, count and name fit into a subject of SNS (100 characters)."""
    name = execution_name("b", "incoming/" + "x" * 200 + ".csv", "v") + "-r999"
    values = ["e" * LONGEST_ENVIRONMENT, "duplicate", "999999999", name]
    template = re.fullmatch(r"States\.Format\('(.*)', .*\)", machine["States"]["Notify"]["Parameters"]["Subject.$"])
    assert template is not None
    assert len(template[1].replace("{}", "%s") % tuple(values)) <= 100


def test_long_environment_is_rejected():
    """The name of an environment that does not fit into a subject is an error that states the limit."""
    with pytest.raises(ValueError, match="at most 12"):
        WorkflowSettings(environment="a-very-long-name")


def test_placeholders_are_substituted():
    """Every placeholder is replaced; a missing or an unknown value is an error that names it."""
    text = definition_text()
    assert placeholders(text) == PLACEHOLDERS
    filled = substitute(text, {name: f"value-of-{name}" for name in PLACEHOLDERS})
    assert placeholders(filled) == set()
    assert json.loads(filled)["States"]["Load"]["Parameters"]["JobQueue"] == "value-of-JobQueue"
    with pytest.raises(ValueError, match="TopicArn"):
        substitute(text, dict.fromkeys(PLACEHOLDERS - {"TopicArn"}, "x"))
    with pytest.raises(ValueError, match="Colour"):
        substitute(text, dict.fromkeys(PLACEHOLDERS | {"Colour"}, "x"))


def test_a_step_is_added_before_the_commit():
    """An added step runs between load and commit, and its failure discards the batch."""
    from ratesflow.workflow.definition import definition_json, ingestion_workflow
    from ratesflow.workflow.sdk import BatchJob

    own = BatchJob("Approve", parameters={"JobName": "a", "JobQueue": "q", "JobDefinition": "d"}, result_path=None)
    settings = WorkflowSettings(job_queue="their-queue", environment="theirs")
    states = json.loads(definition_json(ingestion_workflow(settings, [own])))["States"]
    assert states["ReadLoadResult"]["Next"] == "Approve"
    assert states["Approve"]["Next"] == "Commit"
    assert states["Approve"]["Catch"][0]["Next"] == "RecordError"
    assert states["Load"]["Parameters"]["JobQueue"] == "their-queue"


def test_job_definitions_cover_every_task():
    """Each task has a job definition, with at most five retry rules that Batch accepts, the last of which ends all."""
    definitions = job_definitions(JobSettings(prefix="p"))
    assert {d["jobDefinitionName"] for d in definitions} > {f"p-{task.name}" for task in BATCH_TASKS}
    for definition in definitions:
        rules = definition["retryStrategy"]["evaluateOnExit"]
        assert len(rules) <= 5
        assert rules[-1] == {"action": "EXIT", "onExitCode": "*"}
        patterns = [v for rule in rules for k, v in rule.items() if k != "action"]
        assert all("*" not in pattern[:-1] for pattern in patterns)
        assert all(re.fullmatch(r"[0-9]*\*?", r["onExitCode"]) for r in rules if "onExitCode" in r)


@pytest.mark.parametrize(
    ("exit_code", "retried"),
    [(0, False), (64, False), (65, False), (70, False), (75, True), (1, True), (137, True), (139, True)],
)
def test_only_transient_exits_are_retried(exit_code, retried):
    """Exit code 75, the watchdog's 1 and signals are retried; usage errors, closed batches and defects are not."""
    from fnmatch import fnmatch

    rules = job_definitions(JobSettings())[0]["retryStrategy"]["evaluateOnExit"]
    first = next(r for r in rules if fnmatch(str(exit_code), r.get("onExitCode", "")))
    assert (first["action"] == "RETRY") is retried


def test_job_definitions_are_valid_requests():
    """Each job definition is a RegisterJobDefinition request that botocore accepts."""
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("batch").operation_model("RegisterJobDefinition")
    everything = JobSettings(
        environment={"A": "b"}, job_role_arn="r", execution_role_arn="e", log_group="/aws/batch/job"
    )
    for definition in job_definitions(everything):
        assert not ParamValidator().validate(definition, model.input_shape).has_errors()
