"""Validates a local file, without a bucket or a batch: `python -m ratesflow.loader.check_file FILE`.

Prints the report. Exit codes: 0 the file would be accepted, 3 it would be rejected, 64 it cannot be checked; if the
database fails, those of a task.
"""

import os
import sys
from pathlib import Path

from ratesflow.extras import exit_without_extra

with exit_without_extra("loader", "Validation", exit_code=64):
    import psycopg2

    from ratesflow.database import reference
    from ratesflow.database.connect import connect
    from ratesflow.database.reference import Reference
    from ratesflow.loader.files.read_shard import validate_file
    from ratesflow.loader.freight.dataset import FreightPrices
    from ratesflow.loader.runtime import termination
    from ratesflow.loader.runtime.arguments import ArgumentParser
    from ratesflow.loader.runtime.connection import task_error
    from ratesflow.loader.runtime.errors import TaskError, UsageError
    from ratesflow.loader.runtime.log import log

REJECTED = 3
# A local stack answers at once, and a person waits.
CONNECT_SECONDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Check a file, print the report, and return the exit code."""
    parser = ArgumentParser(prog="python -m ratesflow.loader.check_file", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the file to check")
    parser.add_argument("--reference", type=Path, help="a folder with ports.csv and regions.csv")
    options = parser.parse_args(arguments)
    try:
        with exit_without_extra("loader", "Validation", UsageError.exit_code):
            report = validate_file(options.file, FreightPrices(), _reference(options.reference))
    except (OSError, reference.ReferenceDataError) as error:
        sys.stderr.write(f"cannot validate {options.file}: {error}\n")
        return UsageError.exit_code
    except TaskError as error:
        log.error(str(error), exit_code=error.exit_code)
        return error.exit_code
    sys.stdout.write(report.to_json() + "\n")
    return 0 if report.accepted else REJECTED


def _reference(folder: Path | None) -> Reference:
    """Return the reference data of the folder, else of the database if it responds, else the built-in data."""
    if folder:
        found = reference.read_files(folder / "ports.csv", folder / "regions.csv")
        reference.check(found)
        return found
    url = os.environ.get("DATABASE_URL")
    if not url:
        return reference.builtin()
    try:
        connection = connect(url, "ratesflow-validate", connect_timeout_seconds=CONNECT_SECONDS)
    except psycopg2.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        sys.stderr.write(f"The database of DATABASE_URL does not answer; the built-in ports are used: {reason}\n")
        return reference.builtin()
    try:
        with connection, connection.cursor() as cursor:
            found, _ = reference.stored(cursor)
    except psycopg2.Error as error:
        raise task_error(error) from error
    finally:
        connection.close()
    return found


if __name__ == "__main__":
    termination.end_at_sigterm()
    sys.exit(main())
