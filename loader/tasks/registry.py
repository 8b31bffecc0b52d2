"""Tasks and their declarations: a module of this folder with `TASK = Task(…)` is a task with the module's name.

The declaration is the only place that describes a task. The command line of `python -m ratesflow.loader` reads it, and
`python -m ratesflow.loader.job_definitions` generates from it what the workflow, Terraform and the documents need.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratesflow.loader.runtime.watchdog import Limits
from ratesflow.loader.tasks import declaration_rules

__all__ = ["Argument", "Limits", "Task", "all_tasks", "find_task", "task_names"]

FOLDER = Path(__file__).parent
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a task may be called."""


@dataclass(frozen=True)
class Argument:
    """A command-line argument of a task; required if it has no default."""

    name: str
    help: str
    default: str | int | None = None

    @property
    def flag(self) -> str:
        """Its flag, such as `--batch-id`."""
        return f"--{self.name.replace('_', '-')}"


BATCH_ARGUMENTS = (
    Argument("bucket", "the bucket of the batch's object"),
    Argument("key", "its key"),
    Argument("version", "its version", "null"),
    Argument("batch_id", "the name of the execution"),
    Argument("execution", "the ARN of the execution", ""),
    Argument("shards", "the number of children of the array job", 1),
)
"""The arguments of every task of a batch."""

RUN_ID = Argument("run_id", "the name under which the result is stored")
"""The argument of every other task."""

PROVIDED = ("connection", "batch", "run_id", "bucket", "work", "dataset")
"""The parameters that are passed to a function that declares them.

`connection` is an open connection to the database, `batch` the Batch, `run_id` the name under which the result is
stored, `bucket` the bucket of results, `work` the identity of the job, the same for all its attempts (for a function
that opens its own sessions), and `dataset` the Dataset.
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: the function that does its work, and how it is called and run.

    The parameters of the function are names of PROVIDED, and the arguments that `arguments` describes. Types (str or
    int) and defaults of the arguments come from the function's signature. A function with the parameter `batch`, unless
    `arguments` describes it, is a task of a batch, which the state machine runs.

    Raises TypeError, with every fault that `declaration_rules` finds.
    """

    function: Callable[..., Any]
    help: str
    outcomes: tuple[str, ...]
    """The possible outcomes of its result. Any other is a defect."""
    limits: Limits
    """The longest time without progress, and the longest time of one statement."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """The help of each argument of its own."""
    run_seconds: int = 3600
    """How long one attempt may run (Batch allows 60 at least)."""
    attempts: int = 3
    """How often Batch runs it at most."""
    vcpus: float = 0.5
    memory_mib: int = 1024
    """With vcpus, one of the sizes that Fargate has."""
    login: str = "loader"
    """The user of the database: `loader`, or `owner` for a task that changes the schema."""
    permissions: tuple[str, ...] = ("write_results",)
    """The permissions of its role besides its secret: names of `local.may` in terraform/iam_tasks.tf."""
    sharded: bool = False
    """Whether it may run as an array job, one child per shard."""
    counts: tuple[str, ...] = ()
    """The counts in its result that are metrics: `rows`, `rejected_rows`."""
    ends: Mapping[str, str] = field(default_factory=dict)
    """Outcomes that close a batch, each with the outcome under which the metric `Batches` counts it."""
    upkeep: bool = False
    """Whether it writes metrics even if it fails: its backlog matters most then."""

    def __post_init__(self) -> None:
        common = [argument.name for argument in (*BATCH_ARGUMENTS, RUN_ID)]
        if found := declaration_rules.faults(self, PROVIDED, common):
            raise TypeError(f"The declaration of the task {self.name} in {self.name}.py is wrong: {'; '.join(found)}.")

    @property
    def name(self) -> str:
        """Its name, which is that of its module."""
        return self.function.__module__.rpartition(".")[2]

    @property
    def of_batch(self) -> bool:
        """Whether it is about one batch, as a step of the state machine."""
        return "batch" in self.provided

    @property
    def provided(self) -> tuple[str, ...]:
        """The names of PROVIDED among the parameters of its function."""
        return tuple(name for name in self._parameters() if name in PROVIDED and name not in self.arguments)

    @property
    def own_arguments(self) -> tuple[Argument, ...]:
        """The arguments that `arguments` describes."""
        parameters = self._parameters()
        return tuple(_argument(parameters[name], text) for name, text in self.arguments.items())

    @property
    def all_arguments(self) -> tuple[Argument, ...]:
        """All arguments of its command line."""
        return (*(BATCH_ARGUMENTS if self.of_batch else (RUN_ID,)), *self.own_arguments)

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters


def _argument(parameter: inspect.Parameter, text: str) -> Argument:
    return Argument(parameter.name, text, None if parameter.default is parameter.empty else parameter.default)


def task_names() -> list[str]:
    """Return the names of all tasks, in alphabetical order, without importing them.

    Raises ValueError for a file whose name cannot be that of a task, or whose declaration is not `TASK`.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.py") if _is_task(path))
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise ValueError(
            f"{wrong[0]}.py: a file of a task is named with small letters, digits and underscores, a letter first."
        )
    return names


def find_task(name: str) -> Task | None:
    """Return a task by its name, None when there is no such task. Imports its module alone.

    Raises TypeError if its declaration is wrong.
    """
    if not NAME.fullmatch(name) or not _is_task(FOLDER / f"{name}.py"):
        return None
    task = getattr(importlib.import_module(f"{__package__}.{name}"), "TASK", None)
    if not isinstance(task, Task):
        raise TypeError(f"{name}.py: TASK is not a Task.")
    if task.name != name:
        raise TypeError(f"{name}.py: function: is defined in {task.function.__module__}; define it in this file.")
    return task


def all_tasks() -> list[Task]:
    """Return all tasks. Imports the modules of all of them."""
    return [task for name in task_names() if (task := find_task(name))]


def _is_task(path: Path) -> bool:
    """Return whether a file assigns `TASK`, by its syntax tree. Raises ValueError for a Task of another name."""
    if not path.is_file():
        return False
    outer = list(_outer_nodes(ast.parse(path.read_bytes(), str(path))))
    if any(isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "TASK" for node in outer):
        return True
    if any(isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Task" for node in outer):
        raise ValueError(f"{path.name}: declares a task under another name than TASK.")
    return False


def _outer_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module that are outside of functions and classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from _outer_nodes(child)
