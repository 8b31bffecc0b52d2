"""The rules of a task's declaration: each fault that they find is a sentence that begins with the field."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ratesflow.loader.runtime.metrics import COUNTS, OUTCOMES
from ratesflow.loader.runtime.watchdog import Limits

if TYPE_CHECKING:
    from ratesflow.loader.tasks.registry import Task

LOGINS = ("loader", "owner")
PERMISSIONS = (
    *("read_batch", "missing", "read_reference", "read_results", "write_results", "write_large_results"),
    *("write_reports", "clean_up"),
)
"""The names of `local.may` in terraform/iam_tasks.tf."""
# AWS Batch User Guide, "Job timeouts": the least timeout. API Reference, "RetryStrategy": 1 to 10 attempts.
LEAST_RUN_SECONDS = 60
ATTEMPTS = range(1, 11)
# API Reference of AWS Batch, "ResourceRequirement": the memory in MiB that Fargate supports for each number of vCPUs.
FARGATE_MEMORY_MIB: Mapping[float, Collection[int]] = {
    0.25: (512, 1024, 2048),
    0.5: range(1024, 4096 + 1, 1024),
    1: range(2048, 8192 + 1, 1024),
    2: range(4096, 16384 + 1, 1024),
    4: range(8192, 30720 + 1, 1024),
    8: range(16384, 61440 + 1, 4096),
    16: range(32768, 122880 + 1, 8192),
}
OPTIONS = ("help", "task")
"""Names that the command line uses itself."""
TYPES: Mapping[Any, type] = {str: str, int: int, "str": str, "int": int}


def faults(task: "Task", provided: Collection[str], common: Collection[str]) -> list[str]:
    """Return the faults of a declaration.

    `provided` are the names that a function may ask for, `common` the arguments that tasks get without describing them.
    """
    parameters = inspect.signature(task.function).parameters
    return [
        *_text_faults(task.help, "help"),
        *_parameter_faults(task, parameters, provided),
        *_argument_faults(task, parameters, {*provided, *common, *OPTIONS} - {"batch"}),
        *_name_faults(task),
        *_end_faults(task),
        *_size_faults(task),
    ]


def _text_faults(text: Any, field: str) -> Iterator[str]:
    if not isinstance(text, str) or not text.strip() or "\n" in text:
        yield f"{field}: is not one line of text: {text!r}"


def _parameter_faults(
    task: "Task", parameters: Mapping[str, inspect.Parameter], provided: Collection[str]
) -> Iterator[str]:
    if missing := sorted(set(task.arguments) - set(parameters)):
        yield f"arguments: describes arguments that its function does not take: {missing}"
    required = {name for name, each in parameters.items() if each.default is each.empty}
    if unknown := sorted(required - {*task.arguments, *provided}):
        yield f"function: takes parameters that nothing provides: {unknown}"
    if positional := sorted(name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY):
        yield f"function: takes parameters that cannot be passed by name: {positional}"


def _argument_faults(
    task: "Task", parameters: Mapping[str, inspect.Parameter], taken: Collection[str]
) -> Iterator[str]:
    for name in sorted(set(task.arguments) & set(taken)):
        yield f"arguments: {name} is provided by the command line: choose another name"
    for name, text in task.arguments.items():
        yield from _text_faults(text, f"arguments[{name!r}]")
        if name not in parameters:
            continue
        annotation, default = parameters[name].annotation, parameters[name].default
        kind = TYPES.get(annotation) if isinstance(annotation, str | type) else None
        if kind is None:
            yield f"function: the argument {name} must be annotated as str or int"
        elif default is parameters[name].empty:
            if kind is int:
                yield f"function: the argument {name} is a number: give it a default"
        elif type(default) is not kind:
            yield f"function: the default of the argument {name} is not of type {kind.__name__}: {default!r}"


def _name_faults(task: "Task") -> Iterator[str]:
    known = {"outcomes": None, "permissions": PERMISSIONS, "counts": tuple(COUNTS)}
    for field, allowed in known.items():
        names = getattr(task, field)
        if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
            yield f"{field}: is not a tuple of names: {names!r}"
            continue
        if len(set(names)) < len(names):
            yield f"{field}: has a name twice: {names}"
        if allowed and (unknown := sorted(set(names) - set(allowed))):
            yield f"{field}: {unknown} are not among {allowed}"
    if not task.outcomes:
        yield "outcomes: is empty: a result must have an outcome"
    if task.login not in LOGINS:
        yield f"login: {task.login!r} is not among {LOGINS}"


def _end_faults(task: "Task") -> Iterator[str]:
    if unknown := sorted(set(task.ends) - set(task.outcomes)):
        yield f"ends: {unknown} are not among its outcomes"
    if unknown := sorted(set(task.ends.values()) - set(OUTCOMES)):
        yield f"ends: {unknown} are not among {OUTCOMES}"


def _size_faults(task: "Task") -> Iterator[str]:
    if task.sharded and not task.of_batch:
        yield "sharded: only a task of a batch, whose function asks for `batch`, runs in shards"
    if task.attempts not in ATTEMPTS:
        yield f"attempts: {task.attempts} is not between {ATTEMPTS[0]} and {ATTEMPTS[-1]}, as AWS Batch requires"
    if task.run_seconds < LEAST_RUN_SECONDS:
        yield f"run_seconds: {task.run_seconds} is below {LEAST_RUN_SECONDS}, the least timeout of AWS Batch"
    if task.vcpus not in FARGATE_MEMORY_MIB:
        yield f"vcpus: {task.vcpus} is not a size of Fargate: {', '.join(f'{size:g}' for size in FARGATE_MEMORY_MIB)}"
    elif task.memory_mib not in FARGATE_MEMORY_MIB[task.vcpus]:
        sizes = sorted(FARGATE_MEMORY_MIB[task.vcpus])
        step = f" in steps of {sizes[-1] - sizes[-2]}" if len(sizes) > 3 else ""
        has = f"{sizes[0]} to {sizes[-1]}{step}"
        yield f"memory_mib: with {task.vcpus:g} vCPUs, Fargate has {has}, not {task.memory_mib}"
    if not isinstance(task.limits, Limits) or task.limits.silence <= 0 or task.limits.statement <= 0:
        yield f"limits: is not Limits with positive seconds: {task.limits!r}"
