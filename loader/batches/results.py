"""The result document of a task: small, written last, and all that the state machine sees of the task."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ratesflow.loader.batches.batch import result_key
from ratesflow.loader.batches.s3 import put_json

if TYPE_CHECKING:
    from ratesflow.loader.batches.ledger import Entry

# A state reads the whole document, and Step Functions limits the data of a state to 256 KB.
MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True)
class Result:
    """The result of a task. `outcome` is one of those that the task declares."""

    task: str
    batch_id: str
    outcome: str
    rows: int | None = None
    rejected_rows: int | None = None
    report: str | None = None
    message: str = ""
    data: str | None = None
    seconds: float = 0.0
    schema: str = field(default="ratesflow.result/1")

    def document(self) -> dict[str, Any]:
        """Return the document as it is stored."""
        return {**asdict(self), "message": self.message[:MESSAGE_CHARACTERS]}


def closed_result(task: str, batch_id: str, entry: "Entry", outcome: str | None = None) -> Result:
    """Return the result of a task for a closed batch, from its row in the ledger; the outcome defaults to the state."""
    message = entry.message or ""
    return Result(task, batch_id, outcome or entry.state, entry.rows, entry.rejected_rows, entry.report, message)


def write_result(result: Result, bucket: str) -> None:
    """Store the document where the state machine, or the command that submitted the task, reads it."""
    put_json(bucket, result_key(result.batch_id, f"{result.task}.json"), result.document())


def write_shard(task: str, batch_id: str, shard: int, result: Result | None, seconds: float, bucket: str) -> None:
    """Store that one shard is done; `result` is the result of the whole task if this shard merged all shards."""
    document = {
        "schema": "ratesflow.shard/1",
        "task": task,
        "batch_id": batch_id,
        "shard": shard,
        "merged": result is not None,
        "seconds": seconds,
    }
    put_json(bucket, result_key(batch_id, f"{task}/{shard}.json"), document)


def store_data(task: str, run_id: str, bucket: str, data: Any) -> str:
    """Store data that is too long for the result document, and return its key for the document's `data`."""
    key = result_key(run_id, f"{task}.data.json")
    put_json(bucket, key, data)
    return key
