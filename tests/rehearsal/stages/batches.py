"""The steps that use an environment: schema, reference data, batches of every outcome, undo, stop, upkeep."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.rehearsal.settings import ROOT
from tests.rehearsal.stage import DoesNotHoldError, SkippedError, Stage, document
from tests.rehearsal.stages.expected import QUERY, Answer, as_answer, lane_lines
from tests.rehearsal.stages.traffic import Traffic
from tests.rehearsal.times import describe, record

REJECTED, DUPLICATE = 3, 4
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
    stage.wait("the API's answer", lambda: answer_of(stage.api_url) is not None)
    return {"address": stage.api_url}


def service(stage: Stage) -> dict[str, Any]:
    """Check that ECS runs the applied tasks, and has not rolled back to others."""
    wanted = stage.terraform("output", "-raw", "api_task_definition").out.strip()
    ecs = stage.client("ecs")
    if not _services(ecs, stage.name):
        raise SkippedError(f"there is no service of ECS named api in a cluster {stage.name} here")
    stage.runner.run("aws", "ecs", "wait", "services-stable", "--cluster", stage.name, "--services", "api")
    running = _services(ecs, stage.name)[0]["taskDefinition"]
    if running != wanted:
        raise DoesNotHoldError(f"the API runs {running}: the tasks of {wanted} did not become healthy")
    return {"task definition": running}


def _services(ecs: Any, cluster: str) -> list[dict[str, Any]]:
    with suppress(ecs.exceptions.ClusterNotFoundException):
        return [each for each in ecs.describe_services(cluster=cluster, services=["api"])["services"] if each]
    return []


def batch(stage: Stage) -> dict[str, Any]:
    """Send a small batch, and measure the time from upload to visibility, by step."""
    path, said, visible = timed(stage, "small", stage.options.rows)
    table = describe(stage, said["batch_id"])
    record(stage, "a small batch", said, visible, table)
    return {"rows": said["rows"], "file": path.name, "upload to visible": visible}


def large_batch(stage: Stage) -> dict[str, Any]:
    """Send a large batch, which several tasks read in parallel, and measure the same times."""
    path, said, visible = timed(stage, "large", stage.options.large_rows)
    record(stage, "a large batch", said, visible, describe(stage, said["batch_id"]))
    return {"rows": said["rows"], "file": path.name, "upload to visible": visible}


def timed(stage: Stage, name: str, rows: int) -> tuple[Path, dict[str, Any], float | None]:
    """Ingest a new file while the API is asked all the time; return it, what was said, and seconds until visible."""
    path = new_file(stage, name, rows)
    with Traffic(stage.api_url) as traffic:
        said = ingest(stage, path)
        wanted = stage.expected.now()
        stage.wait("the batch's visibility", lambda: wanted in traffic.first_seen, 120)
    traffic.check(stage.expected.answers)
    return path, said, traffic.seconds_until(wanted)


def new_file(stage: Stage, name: str, rows: int) -> Path:
    """Make a file that is like no other: a sample, and prices of the lane that is watched."""
    seed = stage.progress.next_seed()
    path = stage.options.folder / f"{name}-{seed}.csv"
    stage.ratesflow("sample", "-n", str(rows), "--seed", str(seed), "-o", str(path))
    with path.open("a", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lane_lines(seed))
    return path


def ingest(stage: Stage, path: Path) -> dict[str, Any]:
    """Send a file that must be committed, and count it among what is expected."""
    said = document(stage.ratesflow("ingest", str(path), "--json").out)
    commit(stage, path)
    return said


def commit(stage: Stage, path: Path) -> None:
    """Note that a file is committed."""
    stage.expected.add(path)
    stage.progress.committed.append(str(path))
    stage.progress.save()


def answer_of(url: str) -> Answer | None:
    """Ask the API for the lane; None when it does not answer."""
    with suppress(URLError, OSError, ValueError), urlopen(f"{url}/rates?{QUERY}", timeout=30) as answer:
        return as_answer(json.load(answer)["rates"])
    return None


def answers(stage: Stage) -> dict[str, Any]:
    """Compare the averages in the API's responses with those computed from the files."""
    _answers_as_expected(stage)
    return {"days": len(stage.expected.now()), "request": f"/rates?{QUERY}"}


def _answers_as_expected(stage: Stage) -> None:
    wanted = stage.expected.now()
    try:
        stage.wait("the right answer", lambda: answer_of(stage.api_url) == wanted, 60)
    except DoesNotHoldError as error:
        found = answer_of(stage.api_url)
        raise DoesNotHoldError(f"the API answers {found}, and the files say {wanted}") from error


def rejected(stage: Stage) -> dict[str, Any]:
    """Send a file with two bad lines: it is rejected, its report names them, and nothing becomes visible."""
    path = new_file(stage, "rejected", max(stage.options.rows, BAD_LINES[-1] + 1))
    lines = path.read_text(encoding="ascii").splitlines()
    for number in BAD_LINES:
        lines[number - 1] = lines[number - 1].rpartition(",")[0] + ",abc"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    said = document(stage.ratesflow("ingest", str(path), "--json", codes=(REJECTED,)).out)
    bucket, _, key = str(said["report"]).removeprefix("s3://").partition("/")
    report = json.loads(stage.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    found = tuple(error["line"] for error in report["errors"])
    if found != BAD_LINES or said["rejected_rows"] != len(BAD_LINES):
        raise DoesNotHoldError(f"lines {BAD_LINES} are bad, and the report names {found}")
    _answers_as_expected(stage)
    return {"lines": list(found), "report": said["report"]}


def duplicate(stage: Stage) -> dict[str, Any]:
    """Send the first file again under another name: it is a duplicate, and counts once."""
    first = stage.progress.committed[0]
    stage.ratesflow("ingest", first, "--name", "again.csv", "--json", codes=(DUPLICATE,))
    _answers_as_expected(stage)
    return {}


def undo(stage: Stage) -> dict[str, Any]:
    """Commit a batch and undo it: the responses are the same as before."""
    path = new_file(stage, "undone", stage.options.rows)
    said = document(stage.ratesflow("ingest", str(path), "--json").out)
    stage.ratesflow("undo", said["batch_id"])
    _answers_as_expected(stage)
    return {"batch": said["batch_id"]}


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
    stage.ratesflow("stop", name)
    _answers_as_expected(stage)
    return {"batch": name}


def upkeep(stage: Stage) -> dict[str, Any]:
    """Run gc and a compaction manually: the responses do not change."""
    stage.ratesflow("gc")
    stage.ratesflow("compact")
    _answers_as_expected(stage)
    return {}
