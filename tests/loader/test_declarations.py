"""A mistake in the declaration of a task is an error that names the file and the field, before anything runs."""

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ratesflow.loader.tasks as package
from ratesflow.loader import __main__ as entry
from ratesflow.loader import job_definitions
from ratesflow.loader.runtime.errors import UsageError
from ratesflow.loader.tasks import declaration_rules, registry
from ratesflow.loader.tasks.registry import Limits, Task, find_task, task_names

ROOT = Path(__file__).parents[2]
HEAD = """\
from ratesflow.loader.tasks.registry import Limits, Task


def vacuum(connection, run_id: str, least: int = 2):
    pass


"""
IMPORTED = """\
from ratesflow.loader.tasks.gc import gc
TASK = Task(function=gc, help='h', outcomes=('d',), limits=Limits(1, 1))
"""
FIELDS = "function=vacuum, help='h', outcomes=('done',), limits=Limits(1, 1)"

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return what writes a file into the folder of tasks, which is empty otherwise."""
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    monkeypatch.setattr(package, "__path__", [str(tmp_path), *package.__path__])

    def into(name: str, text: str) -> None:
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    return into


def declared(function: Callable[..., Any] | None = None, **fields: Any) -> Task:
    """Return a task of this file with some fields replaced."""

    def vacuum(connection: object, run_id: str, least: int = 2) -> None: ...

    return Task(
        **{"function": function or vacuum, "help": "h", "outcomes": ("done",), "limits": Limits(1, 1), **fields}
    )


def of_batch(batch: object, count: int = 1) -> None:
    """A function of a task of a batch."""


def of_bool(run_id: str, force: bool = False) -> None:
    """A function with an argument that no flag expresses."""


def of_float(run_id: str, share: float = 0.5) -> None:
    """A function with an argument of a type that job definitions do not have."""


def of_number(run_id: str, least: int) -> None:
    """A function with a number that has no default."""


def of_wrong_default(run_id: str, least: int = True) -> None:
    """A function whose default is not of its type."""


def of_key(run_id: str, key: str = "x") -> None:
    """A function with an argument that has the name of a provided one."""


def of_position(run_id: str, /) -> None:
    """A function whose parameter cannot be passed by name."""


@pytest.mark.parametrize(
    "text", ["TASK: Task = Task({})", "TASK  =  Task({})", "TASK = Task(\n    {})", "if 1:\n    TASK = Task({})"]
)
def test_a_declaration_is_found_however_it_is_written(write: Write, text: str) -> None:
    """Annotations, spaces and lines make no difference: a file that assigns TASK is a task."""
    write("vacuum", HEAD + text.format(FIELDS))
    assert task_names() == ["vacuum"]
    assert find_task("vacuum").name == "vacuum"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = Task({})", r"vacuum\.py: declares a task under another name than TASK"),
        ("TASK = 5", r"vacuum\.py: TASK is not a Task"),
        (IMPORTED, r"vacuum\.py: function: is defined in ratesflow\.loader\.tasks\.gc"),
    ],
)  # fmt: skip
def test_a_declaration_under_another_name_is_an_error(write: Write, text: str, message: str) -> None:
    """A task that is not assigned to TASK, or whose function is of another file, is an error in every list of tasks."""
    write("vacuum", HEAD + text.format(FIELDS))
    with pytest.raises((TypeError, ValueError), match=message):
        registry.all_tasks()
    with pytest.raises((TypeError, ValueError), match=message):
        job_definitions.files()
    assert entry.main(["--help"]) == 70


@pytest.mark.parametrize(
    ("name", "allowed"), [("vacuum2", True), ("vacuum-all", False), ("Vacuum", False), ("2nd", False), ("_x", False)]
)
def test_names_of_files(write: Write, name: str, allowed: bool) -> None:
    """A task's file has small letters, digits and underscores, a letter first; any other name is an error."""
    write(name, f"{HEAD}TASK = Task({FIELDS})")
    if allowed:
        assert find_task(name) is not None
        return
    with pytest.raises(ValueError, match=re.escape(f"{name}.py: a file of a task is named with small letters")):
        job_definitions.files()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sharded": True}, "sharded: only a task of a batch"),
        ({"vcpus": 3.3}, "vcpus: 3.3 is not a size of Fargate: 0.25, 0.5, 1"),
        ({"memory_mib": 7}, "memory_mib: with 0.5 vCPUs, Fargate has 1024 to 4096 in steps of 1024, not 7"),
        ({"vcpus": 8, "memory_mib": 17408}, "memory_mib: with 8 vCPUs, Fargate has 16384 to 61440 in steps of 4096"),
        ({"attempts": 99}, "attempts: 99 is not between 1 and 10"),
        ({"attempts": 0}, "attempts: 0 is not between 1 and 10"),
        ({"run_seconds": 5}, "run_seconds: 5 is below 60"),
        ({"permissions": ("fly",)}, r"permissions: \['fly'\] are not among"),
        ({"login": "nobody"}, "login: 'nobody' is not among"),
        ({"outcomes": "done"}, "outcomes: is not a tuple of names: 'done'"),
        ({"outcomes": ()}, "outcomes: is empty"),
        ({"outcomes": ("done", "done")}, "outcomes: has a name twice"),
        ({"counts": ("lines",)}, r"counts: \['lines'\] are not among"),
        ({"ends": {"gone": "failed"}}, r"ends: \['gone'\] are not among its outcomes"),
        ({"ends": {"done": "gone"}}, r"ends: \['gone'\] are not among"),
        ({"help": ""}, "help: is not one line of text"),
        ({"arguments": {"least": "two\nlines"}}, r"arguments\['least'\]: is not one line of text"),
        ({"limits": Limits(0, 1)}, "limits: is not Limits with positive seconds"),
        ({"function": of_bool, "arguments": {"force": "h"}}, "the argument force must be annotated as str or int"),
        ({"function": of_float, "arguments": {"share": "h"}}, "the argument share must be annotated as str or int"),
        ({"function": of_number, "arguments": {"least": "h"}}, "the argument least is a number: give it a default"),
        ({"function": of_wrong_default, "arguments": {"least": "h"}}, "the default of the argument least is not of"),
        ({"function": of_key, "arguments": {"key": "h"}}, "arguments: key is provided by the command line"),
        ({"arguments": {"run_id": "h"}}, "arguments: run_id is provided by the command line"),
        ({"function": of_position}, r"cannot be passed by name: \['run_id'\]"),
    ],
)
def test_a_wrong_field_is_an_error(fields: dict[str, Any], message: str) -> None:
    """Each value that Batch, Fargate, Terraform, the metrics or the command line cannot use is named with its field."""
    with pytest.raises(TypeError, match=f"the task test_declarations in test_declarations.py is wrong: .*{message}"):
        declared(**fields)


def test_all_faults_are_named_at_once() -> None:
    """A declaration with several mistakes is reported with all of them; a right one passes."""
    with pytest.raises(TypeError, match=r"attempts: .*; run_seconds: "):
        declared(attempts=99, run_seconds=5)
    assert declared(of_batch, sharded=True, arguments={"count": "h"}).of_batch


def test_help_may_contain_percent_signs(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A percent sign in a help text is printed as it is, in the list of tasks and for a task."""
    fields = FIELDS.replace("'h'", "'free 5% of it'") + ", arguments={'least': 'in % of it'}"
    write("vacuum", f"{HEAD}TASK = Task({fields})")
    for arguments, text in ((["--help"], "free 5% of it"), (["vacuum", "--help"], "in % of it")):
        with pytest.raises(SystemExit) as ended:
            entry.main(arguments)
        assert ended.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["nosuch"], [], ["ledger"], ["ledger", "--nosuch"], ["compact", "--run-id", "r", "--min-batches", "x"]],
)
def test_wrong_usage_exits_with_64(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown task, and a missing, unknown or wrong option, exit with 64 and the usage on standard error."""
    with pytest.raises(SystemExit) as ended:
        entry.main(arguments)
    assert ended.value.code == UsageError.exit_code == 64
    assert "usage: python -m ratesflow.loader" in capsys.readouterr().err


def test_permissions_are_those_of_terraform() -> None:
    """The permissions that a declaration may name are the names of `local.may`."""
    source = (ROOT / "terraform" / "iam_tasks.tf").read_text(encoding="utf-8")
    may = source[source.index("  may = {") : source.index("\n  }\n")]
    assert set(re.findall(r"^    (\w+) = \[", may, re.M)) == set(declaration_rules.PERMISSIONS)


def test_job_definitions_need_a_checkout(tmp_path: Path) -> None:
    """An installed package has nowhere to write: the command reports that it needs a checkout, and exits with 1."""
    code = f"import pathlib; from ratesflow.loader import job_definitions as j; j.SCHEMA = pathlib.Path({str(tmp_path)!r}, 'x'); j.main()"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not a checkout of ratesflow" in done.stderr
    assert "Traceback" not in done.stderr
