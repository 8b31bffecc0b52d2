"""The settings of one deployment of the workflow: its names, and how long its tasks may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ratesflow.workflow.job_definitions import BATCH_TASKS

# A notification's subject holds the environment, the outcome, the rows and the name of the execution
# (60 characters at most: 55 by ratesflow.workflow.trigger, 5 more by a rerun) in the 100 characters that SNS allows.
LONGEST_ENVIRONMENT = 12

IGNORED_FILES = (
    # Spark, Hadoop, Databricks: markers of a finished job, and what is not finished.
    *("_SUCCESS", "_started_*", "_committed_*", "_temporary", "_delta_log", "_metadata", "_common_metadata"),
    ".[!.]*",  # hidden files and folders; `..` is a name that S3 takes
    *("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*~"),  # still being written
    *("*.md5", "*.md5sum", "*.sha1", "*.sha256", "*.sha256sum", "*.sha512", "*.crc", "*.crc32", "*.sfv"),
    *("*.asc", "*.sig", "*.ok", "*.done", "*.ready"),
    *("manifest", "manifest.json", "manifest.checksum", "*.manifest", "*_manifest.json", "thumbs.db", "desktop.ini"),
)
"""Names of files that other tools leave beside a batch or are still writing: Terraform's default `ignored_files`."""


JOB_PLACEHOLDERS = {task.name: f"{task.name.capitalize()}JobDefinition" for task in BATCH_TASKS}
"""The name of the placeholder of each task's job definition, such as `LoadJobDefinition`."""

JOBS = {task: f"${{{placeholder}}}" for task, placeholder in JOB_PLACEHOLDERS.items()}
RUN_SECONDS = {task.name: task.run_seconds for task in BATCH_TASKS}
ATTEMPTS = {task.name: task.attempts for task in BATCH_TASKS}


@dataclass(frozen=True)
class WorkflowSettings:
    """The names that the state machine uses; by default the `${…}` placeholders that a deployment replaces.

    `jobs` are the job definitions of the tasks. Times are in seconds: a task may wait `queue_seconds` in the queue, and
    each of its `attempts` may run for its `run_seconds`, the `attemptDurationSeconds` of its job definition.

    Raises ValueError when the environment's name would not fit into the subject of a notification.
    """

    job_queue: str = "${JobQueue}"
    jobs: Mapping[str, str] = field(default_factory=lambda: dict(JOBS))
    topic_arn: str = "${TopicArn}"
    bucket: str = "${Bucket}"
    environment: str = "${Environment}"
    results: str = "results"
    queue_seconds: int = 3600
    run_seconds: Mapping[str, int] = field(default_factory=lambda: dict(RUN_SECONDS))
    attempts: Mapping[str, int] = field(default_factory=lambda: dict(ATTEMPTS))
    service_retries: int = 5
    first_wait_seconds: int = 2
    longest_wait_seconds: int = 60

    def __post_init__(self) -> None:
        if not self.environment.startswith("${") and len(self.environment) > LONGEST_ENVIRONMENT:
            raise ValueError(
                f"The name of the environment, {self.environment!r}, is too long for the subject of a notification: "
                f"choose one of at most {LONGEST_ENVIRONMENT} characters."
            )

    def timeout_seconds(self, task: str) -> int:
        """Return how long the state of a task may last, including its wait in the queue."""
        return self.queue_seconds + self.attempts[task] * self.run_seconds[task]
