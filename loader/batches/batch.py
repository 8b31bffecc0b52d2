"""A batch, as tasks receive it."""

from dataclasses import dataclass

# The size of the parts that a digest is computed from. Shards begin and end at part boundaries.
PART_BYTES = 8 * 1024 * 1024
# Parts are read and processed in blocks of this size.
BLOCK_BYTES = 1024 * 1024


def result_key(run_id: str, name: str) -> str:
    """Return the key of a result, such as `validate.json`; `run_id` names the batch or the run of another task."""
    return f"results/{run_id}/{name}"


@dataclass(frozen=True)
class Batch:
    """One object in S3 and its execution; this process works on shard number `shard` of `shards`.

    `etag` is the object's ETag when this process began to read it, empty before that.
    """

    batch_id: str
    bucket: str
    key: str
    version: str
    execution_arn: str = ""
    shard: int = 0
    shards: int = 1
    etag: str = ""

    @property
    def url(self) -> str:
        """The object's URL, for messages."""
        return f"s3://{self.bucket}/{self.key}"

    def result_key(self, name: str) -> str:
        """Return the key of a result of this batch, such as `validate.json`."""
        return result_key(self.batch_id, name)

    def report_key(self, name: str) -> str:
        """Return the key of a part of this batch's validation report."""
        return f"reports/{self.batch_id}/{name}"
