"""Everything that docs/deploy.md and docs/operations.md name exists: commands, options, alarms, variables, tests."""

import re
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import pytest
from awscli.clidriver import ServiceOperation, create_clidriver

from ratesflow.workflow.cli import main
from tests.ci.pipeline import ROOT, job, script
from tests.fix_database import Database

DEPLOY, OPERATIONS = (ROOT / "docs/deploy.md").read_text(), (ROOT / "docs/operations.md").read_text()
TEXTS = [pytest.param(DEPLOY, id="deploy"), pytest.param(OPERATIONS, id="operations")]
TERRAFORM = ROOT / "terraform"
ENVIRONMENTS = ("dev", "staging", "production")


def commands(text: str, name: str) -> list[list[str]]:
    """Return the words of each command with this name, in console lines and between backticks."""
    lines = re.findall(r"^ *[$>] (.*)$", text, re.M) + re.findall(rf"`({name} [^`\n]+)`", text)
    inner = re.compile(r"\$\(([^()]*)\)")  # a substituted command is checked, too
    lines += [found for line in lines for found in inner.findall(line)]
    called = [inner.sub("VALUE", line) for line in lines if re.search(rf"(^|[ (]){name} ", inner.sub("VALUE", line))]
    return [part[part.index(name) :] for line in called for part in _parts(line) if name in part]


def _parts(line: str) -> list[list[str]]:
    """Return the words of a shell line, split at pipes, redirections and command separators."""
    parts: list[list[str]] = [[]]
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>")
    lexer.whitespace_split = True
    for word in lexer:
        if set(word) <= set("|;<>"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@pytest.mark.parametrize("text", TEXTS)
def test_commands_of_ratesflow(text: str) -> None:
    """Each `ratesflow` command exists and has the options that are used."""
    found = commands(text, "ratesflow")
    assert len(found) > 3
    for words in found:
        rest = words[1:]
        group: click.Command = main
        while isinstance(group, click.Group):
            while rest and rest[0] in ("--env", "--home"):
                rest = rest[2:]
            assert rest, words
            assert rest[0] in group.commands, words
            group, rest = group.commands[rest[0]], rest[1:]
        options = {name for parameter in group.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options | {"-h", "--help"}, words
        needed = [each for each in group.params if isinstance(each, click.Argument) and each.required]
        named_alone = len(words) == 2  # in a sentence, or with its argument in another place
        assert named_alone or len([word for word in rest if not word.startswith("-")]) >= len(needed), words


@lru_cache(maxsize=1)
def aws_command() -> Any:
    """Return the `aws` command line, which lists every service, operation and option."""
    return create_clidriver()


def below(command: Any) -> dict[str, Any]:
    """Return the subcommands of an `aws` command: services, operations, waiters; most operations have none."""
    if hasattr(command, "subcommand_table"):
        return dict(command.subcommand_table)
    if isinstance(command, ServiceOperation):
        return {}
    return dict(command.create_help_command().command_table)


@pytest.mark.parametrize("text", TEXTS)
def test_commands_of_aws(text: str) -> None:
    """Each `aws` command exists and has the options that are used."""
    found = commands(text, "aws")
    assert len(found) > 3
    everywhere = {f"--{name}" for name in ("query", "output", "region")}
    for words in found:
        command, rest = aws_command(), words[1:]
        while under := below(command):
            assert rest, words
            assert rest[0] in under, words
            command, rest = under[rest[0]], rest[1:]
        options = {f"--{name}" for name in command.arg_table}
        assert {word for word in rest if word.startswith("--")} <= options | everywhere, words


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_images_are_built_for_the_platform_of_the_tasks(tool: str) -> None:
    """Each build has the platform that Terraform sets, and only options that its tool supports."""
    pinned = re.findall(r'cpu_?[aA]rchitecture += "(\w+)"', (TERRAFORM / "jobs.tf").read_text())
    pinned += re.findall(r'cpu_?[aA]rchitecture += "(\w+)"', (TERRAFORM / "api.tf").read_text())
    (platform,) = {f"linux/{ {'X86_64': 'amd64', 'ARM64': 'arm64'}[each] }" for each in pinned}
    assert len(pinned) == 2
    text = DEPLOY if tool != "buildah" else re.sub(r"\\\n +", " ", script("package-and-publish"))
    builds = re.findall(rf"{tool} build .*", text)
    assert len(builds) == 1
    (words,) = [shlex.split(each) for each in builds]
    assert words[words.index("--platform") + 1] == platform
    # Only Docker's format keeps a HEALTHCHECK; Docker itself would add an index with an attestation.
    expected = {"docker": "--provenance=false", "podman": "--format docker", "buildah": "BUILDAH_FORMAT"}[tool]
    assert expected in " ".join(words) or expected in job("package-and-publish")["variables"]
    pushes = re.findall(rf"{tool} push (.*)", text)
    assert len(pushes) == 1
    assert ("--digestfile" in pushes[0]) is (tool == "buildah")  # the manual steps query the registry


def test_documented_quotas_of_an_environment() -> None:
    """The documented vCPUs are those of the variables files, for all tasks of batches and of the API at once."""
    known, named = variables(), re.search(r"([\d.]+) of Spot for `dev`, ([\d.]+) On-Demand for `production`", DEPLOY)
    behind = re.search(r"is On-Demand: (\d+) for `dev`", DEPLOY)
    assert named
    assert behind
    for environment, number, beside in zip(("dev", "production"), named.groups(), (behind[1], 0), strict=True):
        given = known | dict(re.findall(r"^(\w+) *= *(\d+)", _tfvars(environment), re.M))
        taken = int(given["maximum_vcpus"]) + int(given["api_maximum_tasks"]) * int(given["api_cpu"]) / 1024
        assert float(number) + int(beside) == taken


def test_every_alarm_has_a_section() -> None:
    """The runbook has exactly one section per alarm, with its name."""
    text = "".join(path.read_text() for path in sorted(TERRAFORM.glob("alarms*.tf")))
    alarms = set(re.findall(r"^    ([a-z-]+) = \{\n +(?:#.*\n +)*summary", text, re.M))
    alarms |= set(re.findall(r"operations\.md#([a-z-]+)", text))
    assert len(alarms) > 15
    assert set(re.findall(r"^### (.+)$", OPERATIONS, re.M)) == alarms
    for section in re.split(r"^##+ ", OPERATIONS, flags=re.M):
        if section.partition("\n")[0] in alarms:
            assert [part for part in ("**Means**", "**Look**", "**Do**") if section.count(part) == 1] == [
                "**Means**", "**Look**", "**Do**",
            ], section  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_links_resolve(text: str) -> None:
    """Each link resolves to a section of this page or the other one."""
    titles = {"deploy.md": DEPLOY, "operations.md": OPERATIONS, "": text}
    links = re.findall(r"\]\(([a-z.]*)#([^)]+)\)", text)
    assert links
    for page, anchor in links:
        anchors = {
            re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", titles[page], re.M)
        }
        assert anchor in anchors


def variables() -> dict[str, str]:
    """Return Terraform's variables and their defaults as written; empty without a default."""
    found = {}
    for path in (*TERRAFORM.glob("variables*.tf"), TERRAFORM / "pre-infra/variables.tf"):
        for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', path.read_text(), re.M | re.S):
            default = re.search(r"^  default +=(.*)$", body, re.M)
            found[name] = default[1].strip() if default else ""
    return found


def _tfvars(environment: str) -> str:
    return (TERRAFORM / f"environments/{environment}.tfvars").read_text()


def test_variables_of_terraform() -> None:
    """Variables that the pages set or recommend exist in Terraform."""
    known = variables()
    given = set(re.findall(r'TF_VAR_(\w+)|-var="?(\w+)=', DEPLOY))
    assert {name for pair in given for name in pair if name} <= set(known)
    knobs = OPERATIONS.partition("## How load grows")[2].partition("\n## ")[0]
    named = {name for name in re.findall(r"`([a-z_0-9]+)[`= ]", knobs) if "_" in name or name in ("compute",)}
    assert len(named) > 10
    assert named <= set(known)


def test_table_of_switches() -> None:
    """The table has every variable that an environment's file sets, with its values."""
    known = variables()
    files = {name: dict(re.findall(r"^(\w+) *= *(.*?) *(?:#.*)?$", _tfvars(name), re.M)) for name in ENVIRONMENTS}
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", DEPLOY.partition("| switch |")[2].partition("\n\n")[0], re.M))
    assert set(table) == {name for values in files.values() for name in values}
    for name, row in table.items():
        for environment, value in zip(ENVIRONMENTS, row.split(" | "), strict=True):
            aurora = files[environment].get("aurora", known["aurora"]) == "true"
            beside_the_point = name.startswith("rds_" if aurora else "aurora_")
            expected = "–" if beside_the_point else files[environment].get(name, known[name]).strip('"')
            assert value == expected, f"{name} of {environment}"


def test_every_variable_is_in_the_table_of_changes() -> None:
    """The table of changes has exactly Terraform's variables."""
    table = DEPLOY.partition("## What can be changed while it runs")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (.+?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
    files = "".join(path.read_text() for path in TERRAFORM.glob("variables*.tf"))
    values = {"fargate", "ec2"}  # of `compute`
    assert named - values == set(re.findall(r'^variable "(\w+)"', files, re.M))


def test_first_deployment_mentions_rotation() -> None:
    """Both the manual and the GitLab instructions state that rotation starts with the second apply."""
    by_hand, by_gitlab = DEPLOY.partition("### 4. The schema")[2], DEPLOY.partition("## By GitLab")[2]
    assert "Plan and apply again" in by_hand.partition("### 5.")[0]
    assert "Rotation begins with an environment's second pipeline" in by_gitlab.partition("\n## ")[0]


def test_deployment_asks_for_alarm_recipients_and_budget_tags() -> None:
    """Step 3 sets the recipients of alarms, confirms their subscription, and activates the budget's tag."""
    step = DEPLOY.partition("### 3. Plan and apply")[2].partition("### 4.")[0]
    assert "$ export TF_VAR_alarm_emails=" in step
    assert "to confirm the subscription" in step
    assert "$ aws ce update-cost-allocation-tags-status" in step


def test_named_tests_and_files_exist() -> None:
    """Every named test and file exists."""
    for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", DEPLOY):
        source = (ROOT / path).read_text()
        assert not test or f"def {test}(" in source
    for path in re.findall(r"`((?:docs|terraform|tests|database|workflow)/[\w./-]+)`", DEPLOY + OPERATIONS):
        assert Path(ROOT / path).exists(), path


def test_sql_of_a_restore(database: Database) -> None:
    """The documented SQL, run as a member of the owner's role, changes the epoch and increments the version."""
    sessions, sql = re.findall(r"```sql\n(.*?)```", OPERATIONS, re.S)
    database.query(sessions.replace("%", "%%"))
    ((before, number),) = database.query("SELECT epoch::text, version FROM data_version")
    database.query(sql)
    ((after, moved),) = database.query("SELECT epoch::text, version FROM data_version")
    assert after != before
    assert moved == number + 1
