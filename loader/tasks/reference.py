"""Reference: add and update ports and regions from two CSV objects."""

from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from ratesflow.database import reference, reference_change
from ratesflow.loader.batches import s3
from ratesflow.loader.batches.results import Result, store_data
from ratesflow.loader.runtime.errors import UsageError
from ratesflow.loader.tasks.registry import Limits, Task

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812


def load_reference(connection: "Connection", run_id: str, bucket: str, ports: str, regions: str) -> Result:
    """Add and update ports and regions from two CSV objects, named by their keys.

    A file that violates a rule is rejected with its line and the reason; nothing changes. Raises UsageError when an
    object does not exist.
    """
    try:
        change = reference_change.load(
            connection, reference.read_reference(_text(bucket, ports, "ports"), _text(bucket, regions, "regions"))
        )
    except reference.ReferenceDataError as error:
        return Result("reference", run_id, "rejected", message=str(error))
    data = store_data("reference", run_id, bucket, asdict(change))
    message = f"{change.added} added, {change.changed} changed, {change.kept} not in the files, kept"
    return Result("reference", run_id, "done", rows=change.ports + change.regions, message=message, data=data)


def _text(bucket: str, key: str, what: str) -> TextIO:
    try:
        return reference.decoded(s3.get(bucket, key), what)
    except KeyError as error:
        raise UsageError(f"there is no object {error}") from None


TASK = Task(
    function=load_reference,
    help="load ports and regions",
    arguments={"ports": "key of the CSV object with the ports", "regions": "key of the CSV object with the regions"},
    outcomes=("done", "rejected"),
    limits=Limits(silence=300, statement=2400),
    permissions=("read_reference", "missing", "write_results"),
)
