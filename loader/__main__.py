"""`python -m ratesflow.loader TASK …`: runs one task, stores its result document, and returns an exit code.

Exit codes: 0 done (a rejection is done), 64 usage, 65 the batch was closed or its object changed, 70 a defect,
75 a transient failure, to be retried. 1 means that the watchdog ended a task without progress, to be retried as well.
Logs are lines of JSON on standard output. Only the named task's module is imported: pandas would add half a second to
every load.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratesflow.extras import MissingExtraError, exit_without_extra, requires_extra

with exit_without_extra("loader", "The loader", exit_code=70):
    from ratesflow.loader.batches.batch import Batch, result_key
    from ratesflow.loader.runtime import metrics, termination, watchdog
    from ratesflow.loader.runtime.arguments import ArgumentParser
    from ratesflow.loader.runtime.errors import TaskError, UsageError
    from ratesflow.loader.runtime.log import log
    from ratesflow.loader.tasks.registry import Task, all_tasks, find_task

if TYPE_CHECKING:
    from ratesflow.loader.batches.results import Result
    from ratesflow.loader.dataset import Dataset

ARRAY_INDEX = "AWS_BATCH_JOB_ARRAY_INDEX"


def main(arguments: list[str] | None = None) -> int:
    """Run one task and return its exit code."""
    began = time.monotonic()
    if is_process := __name__ == "__main__":  # not a call from a test
        watchdog.start(watchdog.DEFAULT_LIMITS)
    try:
        with requires_extra("loader", "The loader"):
            options = _parse(sys.argv[1:] if arguments is None else arguments)
    except Exception as error:  # noqa: BLE001 a module that cannot be imported: a retry cannot help
        _log_defect(error)
        return TaskError.exit_code
    task: Task = options.task
    log.bind(task=task.name, batch_id=_run_id(options))
    if is_process:
        watchdog.start(task.limits)
    try:
        with requires_extra("loader", "The loader"):
            return _run(task, options, began)
    except TaskError as error:
        log.error(str(error), exit_code=error.exit_code)
        _store_error(task, options, str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 every error becomes a log line and an exit code here
        _store_error(task, options, _log_defect(error))
        return TaskError.exit_code


def _log_defect(error: Exception) -> str:
    """Log an error that no task expects, and return its text."""
    if isinstance(error, MissingExtraError):
        log.error(str(error), exit_code=TaskError.exit_code)
        return str(error)
    text = f"a defect: {type(error).__name__}: {error}"
    log.exception(text)
    return text


def _run(task: Task, options: argparse.Namespace, began: float) -> int:
    from ratesflow.loader.batches.results import write_result, write_shard

    log.info("started", attempt=int(os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")))
    try:
        result = _call(task, options)
    except TaskError:
        if task.upkeep:
            metrics.write(task.name, round(time.monotonic() - began, 3))
        raise
    seconds = round(time.monotonic() - began, 3)
    if task.sharded and options.shards > 1:
        write_shard(task.name, options.batch_id, _shard(), result, seconds, _bucket(options))
    if result is None:
        log.info("done; other shards are still running", seconds=seconds, peak_mb=_peak_mb())
    else:
        result = replace(result, seconds=seconds)
        write_result(result, _bucket(options))
        log.info(result.outcome, **_figures(result))
        _note_metrics(task, result)
    metrics.write(task.name, seconds)
    return 0


def _call(task: Task, options: argparse.Namespace) -> "Result | None":
    """Call the task's function with its arguments. Raises TaskError for an outcome that the task does not declare."""
    values: dict[str, Any] = {argument.name: getattr(options, argument.name) for argument in task.own_arguments}
    values |= {name: _PROVIDERS[name](options) for name in task.provided if name != "connection"}
    result: Result | None
    if "connection" in task.provided:
        from ratesflow.loader.runtime.connection import connected

        with connected(task.name, _work(options)) as connection:
            result = task.function(connection=connection, **values)
    else:
        result = task.function(**values)
    if result is not None and result.outcome not in task.outcomes:
        raise TaskError(f"{task.name} returned the outcome {result.outcome}, which it does not declare")
    return result


def _run_id(options: argparse.Namespace) -> str:
    """Return the name under which the result is stored."""
    return str(options.batch_id if options.task.of_batch else options.run_id)


def _work(options: argparse.Namespace) -> str:
    """Return the identity of this job: the same for all its attempts, and different from that of any other job."""
    return f"{_run_id(options)}/{os.environ.get(ARRAY_INDEX, '')}"


def _dataset() -> "Dataset":
    """Return the dataset. Imported here, since only tasks that read or derive rows need it."""
    from ratesflow.loader.freight.dataset import FreightPrices

    return FreightPrices()


def _batch(options: argparse.Namespace) -> Batch:
    return Batch(
        batch_id=options.batch_id,
        bucket=options.bucket,
        key=options.key,
        version=options.version,
        execution_arn=options.execution,
        shard=_shard(),
        shards=options.shards,
    )


def _shard() -> int:
    return int(os.environ.get(ARRAY_INDEX, "0"))


def _bucket(options: argparse.Namespace) -> str:
    bucket = options.bucket if options.task.of_batch else os.environ.get("RATESFLOW_BUCKET")
    if not bucket:
        raise UsageError("no bucket is set: set RATESFLOW_BUCKET")
    return str(bucket)


_PROVIDERS: Mapping[str, Callable[[argparse.Namespace], Any]] = {
    "batch": _batch,
    "run_id": _run_id,
    "bucket": _bucket,
    "work": _work,
    "dataset": lambda _: _dataset(),
}


def _store_error(task: Task, options: argparse.Namespace, message: str) -> None:
    """Store the error message where discard reads it. If that fails, the message is only in the log."""
    from ratesflow.loader.batches.s3 import put_json

    try:
        index = os.environ.get(ARRAY_INDEX)
        text = message if index is None else f"shard {index}: {message}"
        put_json(_bucket(options), result_key(_run_id(options), f"{task.name}.error.json"), {"message": text})
    except Exception as error:  # noqa: BLE001 the first error is the one to report
        log.error(f"cannot store the error message: {error}")


def _figures(result: "Result") -> dict[str, object]:
    fields = asdict(result)
    given = {name: fields[name] for name in ("rows", "rejected_rows", "report", "seconds") if fields[name] is not None}
    if result.message:
        given["reason"] = result.message
    return {**given, "peak_mb": _peak_mb()}


def _note_metrics(task: Task, result: "Result") -> None:
    for count in task.counts:
        if (value := getattr(result, count)) is not None:
            metrics.note(metrics.COUNTS[count], value)
    if end := task.ends.get(result.outcome):
        metrics.note_end(end)


def _peak_mb() -> float:
    """Return the peak memory of this process, in MB of 2**20 bytes."""
    try:
        # VmHWM rather than getrusage, which would include the peak of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        kib = int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        import resource

        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Return the parsed arguments; `task` is the task that the first argument names."""
    parser = ArgumentParser(prog="python -m ratesflow.loader", description=__doc__.splitlines()[0])
    parsers = parser.add_subparsers(required=True, metavar="TASK")
    named = find_task(arguments[0]) if arguments else None
    for task in [named] if named else all_tasks():
        sub = parsers.add_parser(task.name, help=task.help.replace("%", "%%"), description=task.help.capitalize() + ".")
        sub.set_defaults(task=task)
        for argument in task.all_arguments:
            sub.add_argument(
                argument.flag,
                help=argument.help.replace("%", "%%"),  # argparse formats it
                type=int if isinstance(argument.default, int) else str,
                default=argument.default,
                required=argument.default is None,
            )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    termination.end_at_sigterm()
    sys.exit(main())
