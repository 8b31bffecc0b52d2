"""The checks of plans, requests, job times and remaining resources, and their documentation."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.rehearsal.plans import changes_of, counted, objections
from tests.rehearsal.settings import ROOT, defaults, values_of
from tests.rehearsal.stage import StepFailedError
from tests.rehearsal.stages.costs import per_hour
from tests.rehearsal.stages.expected import Expected, as_answer
from tests.rehearsal.stages.flips import FLIPS, UNSAFE, known_types, skipped
from tests.rehearsal.stages.leftovers import sort_out
from tests.rehearsal.stages.steps import LAST, STEPS
from tests.rehearsal.stages.traffic import Traffic
from tests.rehearsal.times import job_times
from tests.rehearsal.verified import NOT_TRIED, TRIED


def test_unexpected_changes_in_a_plan_are_objections() -> None:
    """Creating, replacing or deleting other resources, and changing those that must stay, are objections."""
    actions = {
        "aws_ecs_service.api": ["delete", "create"],
        "aws_ecs_task_definition.api": ["create", "delete"],
        'aws_batch_compute_environment.tasks["FARGATE"]': ["delete"],
        "aws_batch_job_queue.tasks": ["update"],
        "aws_rds_cluster.main[0]": ["update"],
        "aws_s3_bucket.batches": ["no-op"],
        "data.aws_region.current": ["read"],
    }
    plan = {"resource_changes": [{"address": a, "change": {"actions": each}} for a, each in actions.items()]}
    changes = changes_of(plan)
    assert counted(changes) == {"replace": 2, "delete": 1, "update": 2}
    may = ("aws_ecs_task_definition.api", 'aws_batch_compute_environment.tasks["FARGATE"]')
    assert objections(changes, may, stays=("aws_rds_cluster.*",)) == [
        "the plan has replace for aws_ecs_service.api, which was not expected",
        "aws_rds_cluster.main[0] must not change, but the plan has update for it",
    ]


def test_table_of_flips() -> None:
    """Every flip sets a different value than the sandbox's, and its patterns match existing resource types."""
    values, known = values_of("sandbox"), known_types()
    reasons = {each.variable: skipped(each, values) for each in FLIPS}
    new = {name for name, reason in reasons.items() if reason and "no variable" in reason}
    assert {name for name, reason in reasons.items() if reason} - new == {"rds_instance_class"}
    assert not new & set(defaults())
    patterns = {pattern for each in FLIPS if each.variable not in new for pattern in (*each.may, *each.stays)}
    types = {pattern.partition(".")[0].partition("*")[0] for pattern in patterns}
    optional = {"aws_xray_"}
    assert [each for each in types - optional if not any(name.startswith(each) for name in known)] == []


class PreparedResponses(BaseHTTPRequestHandler):
    """Returns the server's prepared responses one after the other, and then the last one repeatedly."""

    def do_GET(self) -> None:
        """Send the next response."""
        answers: list[Any] = self.server.answers  # type: ignore[attr-defined]
        status, rates = answers.pop(0) if len(answers) > 1 else answers[0]
        body = json.dumps({"rates": rates}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A server in its own thread."""
    made = HTTPServer(("127.0.0.1", 0), PreparedResponses)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


OLD, NEW = [{"day": "2021-02-01", "count": 3, "price": 10.5}], [{"day": "2021-02-01", "count": 6, "price": 11}]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(200, OLD), (503, []), (200, NEW)], r"1 of \d+ requests failed: 1 × HTTPError: HTTP Error 503"),
        ([(200, OLD), (200, [OLD[0] | {"price": 10.6}]), (200, NEW)], "1 responses were never correct"),
        ([(200, OLD), (200, NEW)], None),
    ],
)
def test_requests_during_a_change(server: HTTPServer, answers: list[Any], words: str | None) -> None:
    """A failed request or an incorrect response is detected; successive whole batches are correct."""
    server.answers = answers  # type: ignore[attr-defined]
    with Traffic(f"http://127.0.0.1:{server.server_port}") as traffic:
        while as_answer(NEW) not in traffic.first_seen:
            assert traffic.requests < 1000
    right = [as_answer(OLD), as_answer(NEW)]
    if words is None:
        traffic.check(right)
    else:
        with pytest.raises(StepFailedError, match=words):
            traffic.check(right)


def test_expected_averages_are_computed_from_the_files(tmp_path: Any) -> None:
    """Prices of the requested lane and days count, an average needs three, and every state is recorded."""
    expected = Expected()
    for number, prices in enumerate(((100, 101), (103,))):
        file = tmp_path / f"{number}.csv"
        lines = [f"INNSA,USMIA,2021-02-01,{price}" for price in prices]
        file.write_text(
            "\n".join(["orig_code,dest_code,day,price", *lines, "INNSA,USMIA,2021-03-01,9", "X,Y,2021-02-01,7"])
        )
        expected.add(file)
    assert expected.answers == [(), (("2021-02-01", 2, None),), (("2021-02-01", 3, 101.3333),)]


def test_container_start_and_work_are_separate() -> None:
    """The wait ends when the job starts; for an array the first child's start and the last one's end count."""
    assert job_times({"createdAt": 1000, "startedAt": 31000, "stoppedAt": 35500}) == {"container": 30.0, "work": 4.5}
    children = [{"startedAt": 26000, "stoppedAt": 30000}, {"startedAt": 28000, "stoppedAt": 41000}]
    assert job_times({"createdAt": 1000}, children) == {"container": 25.0, "work": 15.0}
    assert job_times({"createdAt": 1000}) == {}


def test_deleted_resources_are_distinguished_from_remaining_ones() -> None:
    """A key that is pending deletion counts as deleted; other keys and resources remain."""
    states = {"arn:aws:kms:r:1:key/over": "PendingDeletion", "arn:aws:kms:r:1:key/alive": "Enabled"}

    class Kms:
        def describe_key(self, KeyId: str) -> dict[str, Any]:  # noqa: N803 as boto3 has it
            return {"KeyMetadata": {"KeyState": states[KeyId]}}

    arns = [*states, "arn:aws:s3:::bucket"]
    left, over = sort_out(lambda _: Kms(), arns)
    assert over == ["arn:aws:kms:r:1:key/over"]
    assert left == ["arn:aws:kms:r:1:key/alive", "arn:aws:s3:::bucket"]


def test_documents_match_the_rehearsal() -> None:
    """docs/deploy.md has every step, and the same lists of tried and untried parts as the rehearsal."""
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    section = text.partition("\n## A rehearsal\n")[2].partition("\n## ")[0]
    assert re.findall(r"^- (.+)$", section.partition("Tried:\n")[2], re.M) == [*TRIED, *NOT_TRIED]
    rows = [(step.name, step.does) for step in (*STEPS, *LAST) if not step.name.startswith("flip-")]
    assert [row for row in re.findall(r"^\| `([a-z-…]+)` \| (.+) \|$", section, re.M) if row[0] != "flip-…"] == rows
    assert {name for name in (*UNSAFE, *(each.variable for each in FLIPS)) if f"`{name}`" not in section} == set()
    assert f"about {sum(per_hour(values_of('sandbox')).values()):.2f} US dollars an hour" in section
    assert "`terraform/environments/sandbox.tfvars`" in section
