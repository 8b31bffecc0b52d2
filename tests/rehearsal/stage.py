"""The shared state of a rehearsal's steps: options, commands, AWS clients, and progress."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.rehearsal.progress import Progress
from tests.rehearsal.runner import Done, Runner
from tests.rehearsal.settings import ROOT, file_of, values_of
from tests.rehearsal.stages.expected import Expected

GIVEN = ("loader_image", "api_image", "alarm_emails", "alarm_urls")


class StepFailedError(Exception):
    """A step failed; the message has the reason."""


class SkippedError(Exception):
    """A step cannot run here; the message has the reason."""


@dataclass(frozen=True)
class Options:
    """The options of the command line: rows of a small and a large batch, limits and intervals of waits in seconds."""

    workspace: str
    region: str
    folder: Path
    rows: int = 50_000
    large_rows: int = 3_000_000
    wait_seconds: float = 900.0
    pause_seconds: float = 5.0


@dataclass
class Stage:
    """A running rehearsal."""

    options: Options
    runner: Runner
    progress: Progress
    print_line: Callable[[str], None]
    expected: Expected = field(default_factory=Expected)

    @cached_property
    def session(self) -> Any:
        """The boto3 session with the user's credentials; AWS_ENDPOINT_URL applies."""
        import boto3

        return boto3.Session(region_name=self.options.region)

    def client(self, service: str) -> Any:
        """Return a client of a service."""
        return self.session.client(service)

    @property
    def name(self) -> str:
        """The prefix of Terraform's names."""
        return f"ratesflow-{self.options.workspace}"

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment's variables, with Terraform's defaults."""
        return values_of(self.options.workspace)

    def terraform(self, *arguments: str, where: str = "terraform", extra: Mapping[str, str] | None = None) -> Done:
        """Run Terraform in a folder with a separate data directory, so that the user's workspace stays selected."""
        data = {"TF_DATA_DIR": str(self.options.folder / f"data-{where.replace('/', '-')}")}
        return self.runner.run("terraform", f"-chdir={where}", *arguments, extra=data | self.given | dict(extra or {}))

    @property
    def given(self) -> dict[str, str]:
        """The variables that Terraform gets in addition to the environment's file; recorded for destroy."""
        kept = {f"TF_VAR_{name}": self.progress.values.get(name) for name in GIVEN}
        return {name: value for name, value in kept.items() if value} | {
            "TF_VAR_database_ca_file": "/app/certificates/rds.pem"
        }

    @property
    def var_file(self) -> str:
        """Terraform's option for the environment's variables file."""
        return f"-var-file={file_of(self.options.workspace).relative_to(ROOT / 'terraform')}"

    def ratesflow(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Done:
        """Run the `ratesflow` command on the environment."""
        command = str(Path(sys.executable).with_name("ratesflow"))
        return self.runner.run(command, "--env", self.options.workspace, *arguments, codes=codes)

    def parameter(self, name: str) -> str:
        """Return a parameter that Terraform published."""
        found = self.client("ssm").get_parameter(Name=f"/ratesflow/{self.options.workspace}/{name}")
        return str(found["Parameter"]["Value"])

    @cached_property
    def api_url(self) -> str:
        """The URL of the API."""
        return self.terraform("output", "-raw", "api_url").out.strip().rstrip("/")

    def wait(self, what: str, found: Callable[[], Any], seconds: float | None = None) -> Any:
        """Call `found` until it returns a true value, and return that. Raises StepFailedError after the timeout."""
        deadline = time.monotonic() + (seconds or self.options.wait_seconds)
        while time.monotonic() < deadline:
            if value := found():
                return value
            time.sleep(self.options.pause_seconds)
        raise StepFailedError(f"timed out after {seconds or self.options.wait_seconds:.0f} s while waiting for {what}")


def document(text: str) -> dict[str, Any]:
    """Return the last JSON object of a command's output."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found
