"""How far a rehearsal has come, in a file: so that it can go on, or clean up, after it was interrupted."""

import fcntl
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

SCHEMA = "ratesflow.rehearsal/1"
HELD, FAILED, SKIPPED = "held", "did not hold", "skipped"


@dataclass
class StepResult:
    """How a step ended: `outcome` is HELD, FAILED or SKIPPED; `details` go into the report as they are."""

    name: str
    outcome: str
    seconds: float
    words: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progress:
    """What is done, what was made and has to be taken away again, and what later steps need to know."""

    file: Path
    workspace: str
    region: str
    values: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    definitions: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)

    def save(self) -> None:
        """Write it down; a reader sees the old file or the new one."""
        document = {"schema": SCHEMA} | {name: value for name, value in asdict(self).items() if name != "file"}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        new.replace(self.file)

    def make(self, what: str) -> None:
        """Note that something is about to be made, before it is."""
        if what not in self.made:
            self.made.append(what)
        self.save()

    def gone(self, what: str) -> None:
        """Note that it was taken away."""
        self.made = [each for each in self.made if each != what]
        with suppress(OSError):  # what is taken away twice does no harm
            self.save()

    def add(self, result: StepResult) -> None:
        """Note how a step ended; a later run of it replaces the former."""
        self.results = [each for each in self.results if each.name != result.name] + [result]
        with suppress(OSError):  # a full disk ends no rehearsal without its clean-up
            self.save()

    @property
    def failed(self) -> list[str]:
        """Return the steps that did not hold when they were last run."""
        return [each.name for each in self.results if each.outcome == FAILED]

    def next_seed(self) -> int:
        """Return a number that no file of this rehearsal was made from."""
        self.values["seed"] = int(self.values.get("seed", 0)) + 1
        self.save()
        return int(self.values["seed"])


def begin(file: Path, workspace: str, region: str) -> Progress:
    """Return the progress of a rehearsal that begins now, whose files are those of no former one."""
    return Progress(file, workspace, region, values={"seed": int(time.time()) % 100_000})


def load(file: Path, workspace: str) -> Progress | None:
    """Return what was written down, or None. Raises ValueError for what is not of this workspace, or unreadable."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        document.pop("schema")
        document["results"] = [StepResult(**each) for each in document["results"]]
        found = Progress(file=file, **document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} is no progress of a rehearsal ({error}): move it away.") from None
    if found.workspace != workspace:
        raise ValueError(f"{file} is of the workspace {found.workspace}, and {workspace} was named.")
    return found


def lock(folder: Path) -> IO[str]:
    """Take a folder for one rehearsal, as long as the file is open. Raises ValueError while another has it."""
    file = (folder / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"Another rehearsal is at work in {folder}: let it end, or give --folder.") from None
    return file
