"""The steps that use an environment: schema, reference data, batches with each outcome, undo, stop, upkeep."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.rehearsal.settings import ROOT
from tests.rehearsal.stage import SkippedError, Stage, StepFailedError, document
from tests.rehearsal.stages.expected import QUERY, Answer, as_answer, lane_lines
from tests.rehearsal.stages.traffic import Traffic
from tests.rehearsal.times import describe, record

REJECTED, DUPLICATE, TOO_LATE = 3, 4, 5
BAD_LINES = (2, 1000)
REFERENCE = ("database/builtin/ports.csv", "database/builtin/regions.csv")


def migrate(stage: Stage) -> dict[str, Any]:
    """Create the schema and the users of the database."""
    return {"seconds of migrate": round(stage.ratesflow("migrate").seconds, 1)}


def reference(stage: Stage) -> dict[str, Any]:
    """Load ports and regions."""
    stage.ratesflow("reference", "load", *(str(ROOT / name) for name in REFERENCE))
    return {}


def healthy(stage: Stage) -> dict[str, Any]:
    """Wait until the API answers at its address and has its tables."""
    stage.wait("a response of the API", lambda: response_of(stage.api_url) is not None)
    return {"address": stage.api_url}


def service(stage: Stage) -> dict[str, Any]:
    """Check that ECS runs the applied tasks, and has not rolled back to others."""
    wanted = stage.terraform("output", "-raw", "api_task_definition").out.strip()
    ecs = stage.client("ecs")
    if not _services(ecs, stage.name):
        raise SkippedError(f"there is no ECS service named api in a cluster {stage.name}")
    stage.runner.run("aws", "ecs", "wait", "services-stable", "--cluster", stage.name, "--services", "api")
    running = _services(ecs, stage.name)[0]["taskDefinition"]
    if running != wanted:
        raise StepFailedError(f"the API runs {running}: the tasks of {wanted} did not become healthy")
    return {"task definition": running}


def _services(ecs: Any, cluster: str) -> list[dict[str, Any]]:
    with suppress(ecs.exceptions.ClusterNotFoundException):
        return [each for each in ecs.describe_services(cluster=cluster, services=["api"])["services"] if each]
    return []


def batch(stage: Stage) -> dict[str, Any]:
    """Send a small batch, and measure the time from upload to visibility, by step."""
    path, result, visible = timed(stage, "small", stage.options.rows)
    table = describe(stage, result["batch_id"])
    record(stage, "a small batch", result, visible, table)
    return {"rows": result["rows"], "file": path.name, "upload to visible": visible}


def large_batch(stage: Stage) -> dict[str, Any]:
    """Send a large batch, which several tasks read in parallel, and measure the same times."""
    path, result, visible = timed(stage, "large", stage.options.large_rows)
    record(stage, "a large batch", result, visible, describe(stage, result["batch_id"]))
    return {"rows": result["rows"], "file": path.name, "upload to visible": visible}


def timed(stage: Stage, name: str, rows: int) -> tuple[Path, dict[str, Any], float | None]:
    """Ingest a new file under continuous requests; return it, the command's result, and the seconds until visible."""
    path = new_file(stage, name, rows)
    with Traffic(stage.api_url) as traffic:
        result = ingest(stage, path)
        wanted = stage.expected.now()
        stage.wait("the batch's visibility", lambda: wanted in traffic.first_seen, 120)
    traffic.check(stage.expected.answers)
    return path, result, traffic.seconds_until(wanted)


def new_file(stage: Stage, name: str, rows: int) -> Path:
    """Create a unique file: a sample, and prices of the observed lane."""
    seed = stage.progress.next_seed()
    path = stage.options.folder / f"{name}-{seed}.csv"
    stage.ratesflow("sample", "-n", str(rows), "--seed", str(seed), "-o", str(path))
    with path.open("a", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lane_lines(seed))
    return path


def ingest(stage: Stage, path: Path) -> dict[str, Any]:
    """Ingest a file that must be committed, and add it to the expected rates."""
    result = document(stage.ratesflow("ingest", str(path), "--json").out)
    commit(stage, path)
    return result


def commit(stage: Stage, path: Path) -> None:
    """Record a committed file."""
    stage.expected.add(path)
    stage.progress.committed.append(str(path))
    stage.progress.save()


def response_of(url: str) -> Answer | None:
    """Request the lane from the API; None if there is no response."""
    with suppress(URLError, OSError, ValueError), urlopen(f"{url}/rates?{QUERY}", timeout=30) as response:
        return as_answer(json.load(response)["rates"])
    return None


def answers(stage: Stage) -> dict[str, Any]:
    """Compare the averages in the API's responses with those computed from the files."""
    _check_rates(stage)
    return {"days": len(stage.expected.now()), "request": f"/rates?{QUERY}"}


def _check_rates(stage: Stage) -> None:
    wanted = stage.expected.now()
    try:
        stage.wait("the expected rates", lambda: response_of(stage.api_url) == wanted, 60)
    except StepFailedError as error:
        found = response_of(stage.api_url)
        raise StepFailedError(f"the API returns {found}, but the files have {wanted}") from error


def rejected(stage: Stage) -> dict[str, Any]:
    """Send a file with two bad lines: it is rejected, its report names them, and nothing becomes visible."""
    path = new_file(stage, "rejected", max(stage.options.rows, BAD_LINES[-1] + 1))
    lines = path.read_text(encoding="ascii").splitlines()
    for number in BAD_LINES:
        lines[number - 1] = lines[number - 1].rpartition(",")[0] + ",abc"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    result = document(stage.ratesflow("ingest", str(path), "--json", codes=(REJECTED,)).out)
    bucket, _, key = str(result["report"]).removeprefix("s3://").partition("/")
    report = json.loads(stage.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    found = tuple(error["line"] for error in report["errors"])
    if found != BAD_LINES or result["rejected_rows"] != len(BAD_LINES):
        raise StepFailedError(f"lines {BAD_LINES} are invalid, but the report names {found}")
    _check_rates(stage)
    return {"lines": list(found), "report": result["report"]}


def duplicate(stage: Stage) -> dict[str, Any]:
    """Send the first file again under another name: it is a duplicate, and counts once."""
    first = stage.progress.committed[0]
    stage.ratesflow("ingest", first, "--name", "again.csv", "--json", codes=(DUPLICATE,))
    _check_rates(stage)
    return {}


def undo(stage: Stage) -> dict[str, Any]:
    """Commit a batch and undo it: the responses are the same as before."""
    path = new_file(stage, "undone", stage.options.rows)
    result = document(stage.ratesflow("ingest", str(path), "--json").out)
    stage.ratesflow("undo", result["batch_id"])
    _check_rates(stage)
    return {"batch": result["batch_id"]}


def stop(stage: Stage) -> dict[str, Any]:
    """Stop an execution in the middle of a large batch: no row of it becomes visible."""
    path = new_file(stage, "stopped", stage.options.large_rows)
    name = document(stage.ratesflow("ingest", str(path), "--no-wait", "--json").out)["batch_id"]
    arn = f"{stage.parameter('state-machine-arn').replace(':stateMachine:', ':execution:')}:{name}"
    states = stage.client("stepfunctions")

    def begun() -> bool:
        with suppress(states.exceptions.ExecutionDoesNotExist):
            return bool(states.describe_execution(executionArn=arn)["startDate"])
        return False

    stage.wait("the execution's start", begun, 300)
    if stage.ratesflow("stop", name, codes=(0, TOO_LATE)).code == TOO_LATE:
        stage.ratesflow("undo", name)  # the later steps expect the rates of before
        raise StepFailedError(f"{name} was committed before it could be stopped: rehearse with more --large-rows")
    _check_rates(stage)
    return {"batch": name}


def upkeep(stage: Stage) -> dict[str, Any]:
    """Run gc and a compaction manually: the responses do not change."""
    stage.ratesflow("gc")
    stage.ratesflow("compact")
    _check_rates(stage)
    return {}
