"""What one deployment of the workflow is called and how long its tasks may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ratesflow.workflow.job_definitions import ATTEMPTS, RUN_SECONDS

# A notification's subject holds the environment, the outcome, the rows and the name of the execution
# (60 characters at most: 55 by ratesflow.workflow.trigger, 5 more by a redo) in the 100 characters that SNS allows.
LONGEST_ENVIRONMENT = 12

SIDE_FILES = (
    # Spark, Hadoop, Databricks: the signs of a job's end and what it has not finished.
    *("_SUCCESS", "_started_*", "_committed_*", "_temporary", "_delta_log", "_metadata", "_common_metadata"),
    ".[!.]*",  # hidden files and folders; `..` is a name that S3 takes
    *("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*~"),  # still being written
    *("*.md5", "*.md5sum", "*.sha1", "*.sha256", "*.sha256sum", "*.sha512", "*.crc", "*.crc32", "*.sfv"),
    *("*.asc", "*.sig", "*.ok", "*.done", "*.ready"),
    *("manifest", "manifest.json", "manifest.checksum", "*.manifest", "*_manifest.json", "thumbs.db", "desktop.ini"),
)
"""What other tools lay beside a file or are still writing, by name: the default of Terraform's `side_files`."""


@dataclass(frozen=True)
class WorkflowSettings:
    """The names that the state machine uses; by default the `${…}` places that a deployment fills.

    Times are in seconds. A task may wait `queue_seconds` for a place to run, and each of its `attempts` may
    run `run_seconds[task]`, which is also the `attemptDurationSeconds` of its job definition.

    Raises ValueError when the environment's name would not fit into the subject of a notification.
    """

    job_queue: str = "${JobQueue}"
    validate_job: str = "${ValidateJobDefinition}"
    load_job: str = "${LoadJobDefinition}"
    commit_job: str = "${CommitJobDefinition}"
    discard_job: str = "${DiscardJobDefinition}"
    topic_arn: str = "${TopicArn}"
    bucket: str = "${Bucket}"
    environment: str = "${Environment}"
    results: str = "results"
    queue_seconds: int = 3600
    run_seconds: Mapping[str, int] = field(default_factory=lambda: dict(RUN_SECONDS))
    attempts: int = ATTEMPTS
    service_retries: int = 5
    first_wait_seconds: int = 2
    longest_wait_seconds: int = 60

    def __post_init__(self) -> None:
        if not self.environment.startswith("${") and len(self.environment) > LONGEST_ENVIRONMENT:
            raise ValueError(
                f"The environment is called {self.environment!r}, which is too long for the subject of a "
                f"notification: choose a name of at most {LONGEST_ENVIRONMENT} characters."
            )

    def timeout_seconds(self, task: str) -> int:
        """Return how long the state of a task may last, its wait in the queue included."""
        return self.queue_seconds + self.attempts * self.run_seconds[task]
