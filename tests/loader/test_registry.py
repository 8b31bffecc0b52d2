"""The declaration of a task, and the command line that is built from it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from ratesflow.loader import __main__ as entry
from ratesflow.loader.batches.results import Result
from ratesflow.loader.tasks import ledger
from ratesflow.loader.tasks.registry import Argument, Limits, Task, find_task
from tests.loader.conftest import TaskHarness

LIMITS = Limits(1, 1)


def modules_after(code: str) -> set[str]:
    """Return the modules that a fresh process has imported after `code`."""
    code = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def sweep(connection: object, run_id: str, least: int = 2, state: str = "all", *, note: str = "") -> Result:
    """A function of a task."""
    return Result("sweep", run_id, "done", least, message=state + note)


def test_arguments_come_from_the_function() -> None:
    """Types and defaults of arguments come from the function; a parameter that is not described is no argument."""
    task = Task(function=sweep, help="h", outcomes=("done",), limits=LIMITS, arguments={"least": "a", "state": "b"})
    assert task.own_arguments == (Argument("least", "a", 2), Argument("state", "b", "all"))
    assert (task.provided, task.of_batch, task.name) == (("connection", "run_id"), False, "test_registry")
    assert [each.flag for each in task.all_arguments] == ["--run-id", "--least", "--state"]


def test_a_declaration_that_does_not_fit_its_function_is_an_error() -> None:
    """An argument that the function does not take, and a parameter that nothing provides, are named."""
    with pytest.raises(TypeError, match=r"does not take: \['most'\]"):
        Task(function=sweep, help="h", outcomes=(), limits=LIMITS, arguments={"most": "x"})
    with pytest.raises(TypeError, match=r"nothing provides: \['speed'\]"):
        Task(function=lambda speed: speed, help="h", outcomes=(), limits=LIMITS)


def test_a_task_imports_its_own_module_alone() -> None:
    """Neither pandas nor another task is imported for a task that does not need it, and none for the list of names."""
    begun = modules_after("from ratesflow.loader.tasks.registry import find_task; find_task('ledger')")
    tasks = {name for name in begun if name.startswith("ratesflow.loader.tasks.")}
    assert tasks == {f"ratesflow.loader.tasks.{name}" for name in ("registry", "declaration_rules", "ledger")}
    assert not begun & {"pandas", "pyarrow", "alembic"}
    listed = modules_after("from ratesflow.loader.tasks.registry import task_names; assert 'load' in task_names()")
    listed_tasks = {name for name in listed if name.startswith("ratesflow.loader.tasks.")}
    assert listed_tasks == {f"ratesflow.loader.tasks.{name}" for name in ("registry", "declaration_rules")}


def test_a_task_is_named_as_its_file() -> None:
    """A module without a declaration, a path and an unknown name are not tasks."""
    assert [find_task(name) for name in ("registry", "finalize", "../__main__", "nosuch", "")] == [None] * 5
    assert find_task("ledger") is ledger.TASK


def test_an_undeclared_outcome_is_a_defect(harness18: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose result has an outcome that it does not declare exits with 70, with the reason in its log."""
    assert entry.main(["ledger", "--run-id", "declared"]) == 0
    monkeypatch.setattr(ledger, "TASK", replace(ledger.TASK, outcomes=("listed",)))
    assert entry.main(["ledger", "--run-id", "undeclared"]) == 70
    key = "results/undeclared/ledger.error.json"
    reason = json.loads(harness18.aws("s3").get_object(Bucket=harness18.bucket, Key=key)["Body"].read())
    assert reason["message"] == "ledger returned the outcome done, which it does not declare"


def test_a_module_that_cannot_be_imported_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose module cannot be imported exits with 70, which is not retried."""
    monkeypatch.setitem(sys.modules, "ratesflow.loader.tasks.ledger", None)
    assert entry.main(["ledger", "--run-id", "broken"]) == 70
