"""`python -m ratesflow.loader TASK …`: arguments and environment in, a result document and an exit code out.

Exit codes: 0 done (a refusal is done), 64 usage, 65 the batch was closed or its object changed, 70 a defect,
75 a passing fault: try again. 1 is the watchdog's, of a task that stood still: try again, too. Logs are lines of
JSON on standard output.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime import termination, watchdog
from ratesflow.loader.runtime.errors import TaskError, UsageError
from ratesflow.loader.runtime.log import log
from ratesflow.loader.tasks import metrics

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from ratesflow.loader.batches.results import Result
    from ratesflow.loader.dataset import Dataset

SHARDED_TASKS = ("validate", "load")
ARRAY_INDEX = "AWS_BATCH_JOB_ARRAY_INDEX"
BATCH_TASKS = ("validate", "load", "commit", "discard")
UPKEEP_TASKS = ("gc", "compact")


def main(arguments: list[str] | None = None) -> int:
    """Run one task and return its exit code."""
    options = _parser().parse_args(arguments)
    log.bind(task=options.task, batch_id=getattr(options, "run", None) or getattr(options, "batch_id", None))
    try:
        if getattr(options, "file", None):
            return _validate_file(options)
        return _run(options)
    except TaskError as error:
        log.error(str(error), exit_code=error.exit_code)
        _last_words(options, str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 the one place where everything ends as a line and a code
        log.exception(f"a defect: {type(error).__name__}: {error}")
        _last_words(options, f"a defect: {type(error).__name__}: {error}")
        return TaskError.exit_code


def _run(options: argparse.Namespace) -> int:
    from ratesflow.loader.batches.results import write_result, write_shard

    if __name__ == "__main__":  # a process that does nothing else
        watchdog.start(options.task)
    began = time.monotonic()
    log.info("started", attempt=int(os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")))
    try:
        result = _task(options)
    except TaskError:
        if options.task in UPKEEP_TASKS:  # its backlog counts above all when something failed
            metrics.write(options.task, round(time.monotonic() - began, 3), None)
        raise
    seconds = round(time.monotonic() - began, 3)
    if options.task in SHARDED_TASKS and options.shards > 1:
        index = int(os.environ.get(ARRAY_INDEX, "0"))
        write_shard(options.task, options.batch_id, index, result, seconds, _bucket(options))
    if result is None:
        log.info("done; other shards are still at work", seconds=seconds, peak_mb=_peak_mb())
    else:
        result = replace(result, seconds=seconds)
        write_result(result, _bucket(options))
        log.info(result.outcome, **_figures(result))
    metrics.write(options.task, seconds, result)
    return 0


def _task(options: argparse.Namespace) -> "Result | None":
    from ratesflow.loader.runtime.connection import connected

    if options.task == "migrate":
        from ratesflow.loader.tasks.maintenance import migrate

        return migrate(options.run, _work(options))
    with connected(options.task, _work(options)) as connection:
        if options.task in BATCH_TASKS:
            return _batch_task(options.task)(connection, _batch(options))
        return _maintenance_task(connection, options)


def _work(options: argparse.Namespace) -> str:
    """Return what all attempts of this job have in common, and no other job."""
    return f"{getattr(options, 'run', None) or options.batch_id}/{os.environ.get(ARRAY_INDEX, '')}"


def _maintenance_task(connection: "Connection", options: argparse.Namespace) -> "Result":
    bucket = _bucket(options)
    if options.task == "gc":
        from ratesflow.loader.tasks.gc import gc

        return gc(connection, options.run, bucket, options.batch)
    if options.task == "undo":
        from ratesflow.loader.batches import ledger_outcomes
        from ratesflow.loader.tasks.undo import undo

        result = undo(connection, options.run, options.batch, _dataset())
        ledger_outcomes.keep(connection, bucket, options.batch)
        return result
    if options.task == "compact":
        from ratesflow.loader.tasks.compact import compact

        return compact(connection, options.run, options.least)
    from ratesflow.loader.tasks import maintenance

    if options.task == "reference":
        return maintenance.load_reference(connection, options.run, bucket, options.ports, options.regions)
    return maintenance.list_ledger(connection, options.run, bucket, options.limit, options.state, options.batch)


def _batch_task(name: str) -> "Callable[[Connection, Batch], Result | None]":
    """Import only what one task needs: pandas costs a load half a second."""
    if name == "validate":
        from ratesflow.loader.tasks.validate import validate

        return partial(validate, dataset=_dataset())
    if name == "load":
        from ratesflow.loader.tasks.load import load

        return partial(load, dataset=_dataset())
    if name == "commit":
        from ratesflow.loader.tasks.commit import commit

        return commit
    from ratesflow.loader.tasks.discard import discard

    return discard


def _dataset() -> "Dataset":
    """Return the dataset for the tasks that read or derive rows; the others do not import it."""
    from ratesflow.loader.freight.dataset import FreightPrices

    return FreightPrices()


def _batch(options: argparse.Namespace) -> Batch:
    return Batch(
        batch_id=options.batch_id,
        bucket=options.bucket,
        key=options.key,
        version=options.version,
        execution_arn=options.execution,
        shard=int(os.environ.get(ARRAY_INDEX, "0")),
        shards=options.shards,
    )


def _bucket(options: argparse.Namespace) -> str:
    bucket = getattr(options, "bucket", None) or os.environ.get("RATESFLOW_BUCKET")
    if not bucket:
        raise UsageError("no bucket is named: set RATESFLOW_BUCKET")
    return str(bucket)


def _validate_file(options: argparse.Namespace) -> int:
    """Check a local file against the reference data in a folder, in the database, or built in; print the report."""
    from ratesflow.database import reference
    from ratesflow.loader.files.read_shard import validate_file

    try:
        if options.reference:
            folder = Path(options.reference)
            known = reference.read_files(folder / "ports.csv", folder / "regions.csv")
            reference.check(known)
        elif os.environ.get("DATABASE_URL"):
            from ratesflow.loader.runtime.connection import connected

            with connected("validate") as connection, connection.cursor() as cursor:
                known, _ = reference.stored(cursor)
        else:
            known = reference.builtin()
        report = validate_file(Path(options.file), _dataset(), known)
    except (OSError, reference.ReferenceDataError) as error:
        print(f"cannot validate {options.file}: {error}", file=sys.stderr)
        return UsageError.exit_code
    print(report.to_json())
    return 0 if report.accepted else 3


def _last_words(options: argparse.Namespace, message: str) -> None:
    """Leave the reason where discard finds it; a task that cannot even do that has said it in its log."""
    from ratesflow.loader.batches.s3 import put_json

    run = getattr(options, "run", None) or getattr(options, "batch_id", None)
    try:
        index = os.environ.get(ARRAY_INDEX)
        words = message if index is None else f"shard {index}: {message}"
        put_json(_bucket(options), f"results/{run}/{options.task}.error.json", {"message": words})
    except Exception as error:  # noqa: BLE001 the first failure is the one that counts
        log.error(f"could not store the reason: {error}")


def _figures(result: "Result") -> dict[str, object]:
    said = asdict(result)
    kept = {name: said[name] for name in ("rows", "rejected_rows", "report", "seconds") if said[name] is not None}
    if result.message:
        kept["reason"] = result.message
    return {**kept, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """Return the most memory that this process had, in MB of 2**20 bytes."""
    try:
        # The kernel's own mark; getrusage's would count the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        kib = int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        import resource

        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ratesflow.loader", description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name in BATCH_TASKS:
        task = tasks.add_parser(name, help=f"{name} one batch")
        task.add_argument("--bucket", help="the bucket of the batch's object")
        task.add_argument("--key", help="its key")
        task.add_argument("--version", default="null", help="its version")
        task.add_argument("--batch-id", help="the name of the execution")
        task.add_argument("--execution", default="", help="the ARN of the execution")
        task.add_argument("--shards", type=int, default=1, help="how many children the array job has")
        if name == "validate":
            task.add_argument("--file", help="a local file to check instead; prints the report")
            task.add_argument("--reference", help="with --file: a folder with ports.csv and regions.csv")
    reference = tasks.add_parser("reference", help="load ports and regions")
    reference.add_argument("--ports", required=True, help="key of the CSV of ports")
    reference.add_argument("--regions", required=True, help="key of the CSV of regions")
    ledger = tasks.add_parser("ledger", help="list batches, newest first")
    ledger.add_argument("--limit", type=int, default=100, help="how many at most")
    ledger.add_argument("--state", default="all", help="only those in this state")
    ledger.add_argument("--batch", default="all", help="only this one and its redos")
    migrate = tasks.add_parser("migrate", help="bring the schema up to date")
    gc = tasks.add_parser("gc", help="close abandoned batches, drop leftovers, start lost objects")
    gc.add_argument("--batch", default="all", help="only this batch")
    undo = tasks.add_parser("undo", help="take one committed batch out again")
    undo.add_argument("--batch", required=True, help="its id")
    compact = tasks.add_parser("compact", help="merge the rates of open batches")
    compact.add_argument("--least", type=int, default=1, help="only if so many batches are open")
    for task in (reference, ledger, migrate, gc, undo, compact):
        task.add_argument("--run", required=True, help="the name under which the result is stored")
    return parser


if __name__ == "__main__":
    termination.end_at_sigterm()
    sys.exit(main())
