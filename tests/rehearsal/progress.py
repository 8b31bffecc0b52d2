"""The progress of a rehearsal, in a file, so that an interrupted one can continue or clean up."""

import fcntl
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

SCHEMA = "ratesflow.rehearsal/1"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class StepResult:
    """The result of a step: `outcome` is PASSED, FAILED or SKIPPED; `details` are copied into the report."""

    name: str
    outcome: str
    seconds: float
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progress:
    """The results so far, what was created and must be removed, and values for later steps."""

    file: Path
    workspace: str
    region: str
    values: dict[str, Any] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)

    def save(self) -> None:
        """Write the file atomically."""
        document = {"schema": SCHEMA} | {name: value for name, value in asdict(self).items() if name != "file"}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        new.replace(self.file)

    def record_creation(self, what: str) -> None:
        """Record that something is about to be created."""
        if what not in self.created:
            self.created.append(what)
        self.save()

    def record_removal(self, what: str) -> None:
        """Record that something was removed."""
        self.created = [each for each in self.created if each != what]
        with suppress(OSError):  # removing something twice is harmless
            self.save()

    def add(self, result: StepResult) -> None:
        """Record the result of a step, replacing an earlier one."""
        self.results = [each for each in self.results if each.name != result.name] + [result]
        with suppress(OSError):  # a full disk must not prevent the clean-up
            self.save()

    @property
    def failed(self) -> list[str]:
        """Return the steps that failed in their last run."""
        return [each.name for each in self.results if each.outcome == FAILED]

    def next_seed(self) -> int:
        """Return a seed that no file of this rehearsal has used."""
        self.values["seed"] = int(self.values.get("seed", 0)) + 1
        self.save()
        return int(self.values["seed"])


def begin(file: Path, workspace: str, region: str) -> Progress:
    """Return the progress of a new rehearsal, with seeds that no earlier one has used."""
    return Progress(file, workspace, region, values={"seed": int(time.time()) % 100_000})


def load(file: Path, workspace: str) -> Progress | None:
    """Return the recorded progress, or None. Raises ValueError if it is unreadable or of another workspace."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        document.pop("schema")
        document["results"] = [StepResult(**each) for each in document["results"]]
        found = Progress(file=file, **document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} is not the progress of a rehearsal ({error}): move it away.") from None
    if found.workspace != workspace:
        raise ValueError(f"{file} is of the workspace {found.workspace}, not {workspace}.")
    return found


def lock(folder: Path) -> IO[str]:
    """Lock a folder for one rehearsal while the file is open. Raises ValueError if another one has it."""
    file = (folder / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"Another rehearsal is running in {folder}: wait for it, or use another --folder.") from None
    return file
