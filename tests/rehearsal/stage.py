"""What the steps of a rehearsal share: its options, the ways to run commands and to ask AWS, and its progress."""

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


class DoesNotHoldError(Exception):
    """Something was to hold and does not; the text says what was found."""


class SkippedError(Exception):
    """A step cannot be done here; the text says why."""


@dataclass(frozen=True)
class Options:
    """What the command line was given. Rows are those of a small batch and of a large one; seconds those of a wait."""

    workspace: str
    region: str
    folder: Path
    rows: int = 50_000
    large_rows: int = 3_000_000
    wait_seconds: float = 900.0
    pause_seconds: float = 5.0


@dataclass
class Stage:
    """One rehearsal at work."""

    options: Options
    runner: Runner
    progress: Progress
    say: Callable[[str], None]
    expected: Expected = field(default_factory=Expected)

    @cached_property
    def session(self) -> Any:
        """The boto3 session, with the person's own credentials; AWS_ENDPOINT_URL counts."""
        import boto3

        return boto3.Session(region_name=self.options.region)

    def client(self, service: str) -> Any:
        """Return a client of a service."""
        return self.session.client(service)

    @property
    def name(self) -> str:
        """What Terraform begins names with."""
        return f"ratesflow-{self.options.workspace}"

    @cached_property
    def variables(self) -> dict[str, str]:
        """What the environment's file of variables and the defaults say."""
        return values_of(self.options.workspace)

    def terraform(self, *arguments: str, where: str = "terraform", extra: Mapping[str, str] | None = None) -> Done:
        """Run Terraform in a folder, with data of its own: the workspace that a person has selected stays so."""
        data = {"TF_DATA_DIR": str(self.options.folder / f"data-{where.replace('/', '-')}")}
        return self.runner.run("terraform", f"-chdir={where}", *arguments, extra=data | self.given | dict(extra or {}))

    @property
    def given(self) -> dict[str, str]:
        """The variables that Terraform gets beside the environment's file: kept, so that destroy has them too."""
        kept = {f"TF_VAR_{name}": self.progress.values.get(name) for name in GIVEN}
        return {name: value for name, value in kept.items() if value} | {
            "TF_VAR_database_ca_file": "/app/certificates/rds.pem"
        }

    @property
    def var_file(self) -> str:
        """The option that names the environment's file of variables, for Terraform in its folder."""
        return f"-var-file={file_of(self.options.workspace).relative_to(ROOT / 'terraform')}"

    def ratesflow(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Done:
        """Run the project's command against the environment."""
        command = str(Path(sys.executable).with_name("ratesflow"))
        return self.runner.run(command, "--env", self.options.workspace, *arguments, codes=codes)

    def parameter(self, name: str) -> str:
        """Return an address that Terraform published."""
        found = self.client("ssm").get_parameter(Name=f"/ratesflow/{self.options.workspace}/{name}")
        return str(found["Parameter"]["Value"])

    @cached_property
    def api_url(self) -> str:
        """Where the API answers."""
        return self.terraform("output", "-raw", "api_url").out.strip().rstrip("/")

    def wait(self, what: str, found: Callable[[], Any], seconds: float | None = None) -> Any:
        """Return what `found` returns, as soon as that is something. Raises DoesNotHoldError after so many seconds."""
        deadline = time.monotonic() + (seconds or self.options.wait_seconds)
        while time.monotonic() < deadline:
            if value := found():
                return value
            time.sleep(self.options.pause_seconds)
        raise DoesNotHoldError(f"{what} was waited for in vain for {seconds or self.options.wait_seconds:.0f} s")


def document(text: str) -> dict[str, Any]:
    """Return the last JSON object of a command's output."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found
