"""Tasks and their declarations: a module of this folder with `TASK = Task(…)` is a task with the module's name.

The declaration is the only place that describes a task. The command line of `python -m ratesflow.loader` reads it, and
`python -m ratesflow.loader.job_definitions` generates from it what the workflow, Terraform and the documents need.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratesflow.loader.runtime.watchdog import Limits

__all__ = ["Argument", "Limits", "Task", "all_tasks", "find_task", "task_names"]

FOLDER = Path(__file__).parent


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

RUN = Argument("run", "the name under which the result is stored")
"""The argument of every other task."""

PROVIDED = ("connection", "batch", "run", "bucket", "work", "dataset")
"""The parameters that are passed to a function that declares them.

`connection` is an open connection to the database, `batch` the Batch, `run` the name under which the result is stored,
`bucket` the bucket of results, `work` the identity of the job, the same for all its attempts (for a function that opens
its own sessions), and `dataset` the Dataset.
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: the function that does its work, and how it is called and run.

    The parameters of the function are names of PROVIDED, and the arguments that `arguments` describes. Types (str or
    int) and defaults of the arguments come from the function's signature. A function with the parameter `batch`, unless
    `arguments` describes it, is a task of a batch, which the state machine runs.

    Raises TypeError when the function and `arguments` do not match.
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
        parameters = self._parameters()
        missing = set(self.arguments) - set(parameters)
        unknown = {
            name
            for name, parameter in parameters.items()
            if name not in {*self.arguments, *PROVIDED} and parameter.default is parameter.empty
        }
        if missing or unknown:
            raise TypeError(
                f"The task {self.name} describes arguments that its function does not take: {sorted(missing)}; "
                f"its function takes parameters that nothing provides: {sorted(unknown)}."
            )

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
        return (*(BATCH_ARGUMENTS if self.of_batch else (RUN,)), *self.own_arguments)

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters


def _argument(parameter: inspect.Parameter, text: str) -> Argument:
    default = None if parameter.default is parameter.empty else parameter.default
    if parameter.annotation is int and default is None:
        raise TypeError(f"The argument {parameter.name} is a number: it needs a default.")
    return Argument(parameter.name, text, default)


def task_names() -> list[str]:
    """Return the names of all tasks, in alphabetical order, without importing them."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if _is_task(path))


def find_task(name: str) -> Task | None:
    """Return a task by its name, None when there is no such task. Imports its module alone."""
    if not re.fullmatch(r"[a-z_]+", name) or not _is_task(FOLDER / f"{name}.py"):
        return None
    task = importlib.import_module(f"{__package__}.{name}").TASK
    assert isinstance(task, Task)
    return task


def all_tasks() -> list[Task]:
    """Return all tasks. Imports the modules of all of them."""
    return [task for name in task_names() if (task := find_task(name))]


def _is_task(path: Path) -> bool:
    return path.is_file() and "\nTASK = Task(" in path.read_text(encoding="utf-8")
