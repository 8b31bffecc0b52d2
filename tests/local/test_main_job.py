"""Ingestion end to end: files are uploaded, the API serves their rates, and rejections have a reason."""

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.loader.samples import csv, daily, rows
from tests.local.conftest import Stack
from tests.local.process_control import ended, signal_to, tasks_of
from tests.local.signaller import Signaller
from tests.waiting import wait_for


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_batch_is_committed_and_its_rates_are_served(stack: Stack, tmp_path: Path) -> None:
    """50,000 rows pass through the real state machine; the API then returns their exact averages."""
    prices = rows(50_000, seed=11, lanes=300)
    result = stack.ingest(write(tmp_path / "a.csv", csv(prices)))
    assert (result["outcome"], result["rows"], result["rejected_rows"]) == ("committed", 50_000, 0)
    (orig, dest, *_) = prices[0]
    counts = {day: values for (o, d, day), values in daily(prices, _reference()).items() if (o, d) == (orig, dest)}
    rates = stack.rates(date_from="2021-01-20", date_to="2021-02-13", orig_code=orig, dest_code=dest)
    assert [rate["day"] for rate in rates] == sorted((rate["day"] for rate in rates), reverse=True)
    for rate in rates:
        count, total = counts.get(date.fromisoformat(rate["day"]), (0, 0))
        assert rate["count"] == (count or None)
        assert rate["price"] == (pytest.approx(total / count) if count >= 3 else None)


def _reference() -> Any:
    from ratesflow.database.reference import builtin

    return builtin()


def test_tasks_stay_below_250_mb(stack: Stack, tmp_path: Path) -> None:
    """The peak memory of every task with 50,000 rows is below 250 MB."""
    result = stack.ingest(write(tmp_path / "memory.csv", csv(rows(50_000, seed=12, lanes=500))))
    records = [json.loads(path.read_text()) for path in (stack.home / "aws" / "jobs").glob("*.json")]
    peaks = {record["command"][4]: record["peak_mb"] for record in records if result["batch_id"] in record["command"]}
    assert set(peaks) == {"validate", "load", "commit"}
    assert all(0 < peak < 250 for peak in peaks.values()), peaks


def test_second_delivery_is_a_duplicate(stack: Stack, tmp_path: Path) -> None:
    """A second delivery of a file ends with exit code 4 and does not change the data version."""
    path = write(tmp_path / "twice.csv", csv(rows(2000, seed=13)))
    stack.ingest(path)
    before = stack.query("SELECT version FROM data_version")
    assert stack.ingest(path, code=4)["outcome"] == "duplicate"
    assert stack.query("SELECT version FROM data_version") == before


def test_standard_input_is_ingested_with_a_name(stack: Stack) -> None:
    """Standard input is uploaded with the given name and committed."""
    text = csv(rows(30, seed=16)).decode()
    result = json.loads(stack.run("ingest", "-", "--name", "acme/piped.csv", "--json", stdin=text).stdout)
    assert (result["outcome"], result["rows"], result["file"]) == ("committed", 30, "standard input")
    assert stack.query("SELECT key FROM batches WHERE batch_id = %s", result["batch_id"]) == [
        ("incoming/acme/piped.csv",)
    ]


def test_files_with_the_same_name_are_rejected_before_upload(stack: Stack, tmp_path: Path) -> None:
    """Two files with the same key in the inbox end with exit code 2, and neither is uploaded; a prefix avoids this."""
    for folder, seed in (("a", 17), ("b", 18)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "same.csv", csv(rows(20, seed=seed)))
    paths = [str(tmp_path / folder / "same.csv") for folder in "ab"]
    message = stack.run("ingest", *paths, code=2).stderr
    assert f"{paths[0]} and {paths[1]} would both be incoming/same.csv" in message
    bucket = stack.environment["RATESFLOW_BUCKET"]
    assert "Contents" not in stack.aws("s3").list_objects_v2(Bucket=bucket, Prefix="incoming/same.csv")
    result = json.loads(stack.run("ingest", paths[1], "--prefix", "b/", "--json").stdout)
    assert stack.query("SELECT key FROM batches WHERE batch_id = %s", result["batch_id"]) == [("incoming/b/same.csv",)]


def test_ingest_timeout_does_not_fail_the_batch(stack: Stack, tmp_path: Path) -> None:
    """If a batch has not ended by the timeout, `ingest` exits with 75 and prints how to follow it; it then commits."""
    path = write(tmp_path / "timeout.csv", csv(rows(20, seed=19)))
    with Signaller(stack, "load", "timeout-", signal.SIGSTOP) as signaller:
        done = stack.run("ingest", str(path), "--timeout", "0.2", code=75)
        assert "and continues. Watch it with: ratesflow show --follow timeout-" in done.stdout
        wait_for(lambda: signaller.signalled)
    signal_to(tasks_of(stack, "load", "timeout-"), signal.SIGCONT)
    name = done.stdout.split()[1]
    assert ended(stack, name)["status"] == "SUCCEEDED"


def test_one_bad_row_rejects_the_file(stack: Stack, tmp_path: Path) -> None:
    """One bad row ends with exit code 3; the report has line, column and reason; the database has none of the rows."""
    lines = csv(rows(2000, seed=14)).split(b"\n")
    lines[700] = lines[700].rsplit(b",", 1)[0] + b",12.5"
    path = write(tmp_path / "bad.csv", b"\n".join(lines))
    result = stack.ingest(path, code=3)
    assert (result["outcome"], result["rows"], result["rejected_rows"]) == ("rejected", 2000, 1)
    key = result["report"].split("/", 3)[3]
    body = stack.aws("s3").get_object(Bucket=stack.environment["RATESFLOW_BUCKET"], Key=key)["Body"].read()
    (error,) = json.loads(body)["errors"]
    assert (error["line"], error["column"], error["value"], error["reason"]) == (701, "price", "12.5", "invalid_price")
    ((number,),) = stack.query("SELECT batch_no FROM batches WHERE batch_id = %s", result["batch_id"])
    assert stack.query("SELECT to_regclass(%s)", f"staging_{number}") == [(None,)]
    assert stack.query("SELECT count(*) FROM rates WHERE batch_no = %s", number) == [(0,)]
    shown = stack.run("ingest", str(path), code=3).stdout
    assert "701" in shown
    assert "price" in shown
    assert stack.run("validate", str(path), code=3).stdout.count("701")


def aws(stack: Stack, *arguments: str) -> Any:
    """Run the real `aws` command with only the environment that `ratesflow env` prints."""
    lines = stack.run("env").stdout.splitlines()
    environment = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    environment = {name: value.strip("'") for name, value in environment.items()}
    command = [str(Path(sys.executable).with_name("aws")), "--output", "json", *arguments]
    path = {"PATH": os.environ["PATH"], "HOME": str(stack.home)}
    done = subprocess.run(command, capture_output=True, text=True, env={**path, **environment}, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout


def test_aws_command_uploads_and_inspects_a_batch(stack: Stack, tmp_path: Path) -> None:
    """`aws s3 cp` starts an execution, and the other commands show it."""
    path = write(tmp_path / "by-aws.csv", csv(rows(500, seed=15)))
    environment = stack.environment
    aws(stack, "s3", "cp", "--quiet", str(path), f"{environment['RATESFLOW_INBOX']}by-aws.csv")
    machine = environment["RATESFLOW_STATE_MACHINE_ARN"]

    def ended() -> Any:
        found = aws(stack, "stepfunctions", "list-executions", "--state-machine-arn", machine)["executions"]
        return [e for e in found if e["name"].startswith("by-aws-") and e["status"] == "SUCCEEDED"]

    (execution,) = wait_for(ended)
    arn = execution["executionArn"]
    described = aws(stack, "stepfunctions", "describe-execution", "--execution-arn", arn)
    assert json.loads(described["output"])["outcome"] == "committed"
    history = aws(stack, "stepfunctions", "get-execution-history", "--execution-arn", arn)["events"]
    assert history[0]["type"] == "ExecutionStarted"
    queue = environment["RATESFLOW_JOB_QUEUE"]
    jobs = aws(stack, "batch", "list-jobs", "--job-queue", queue, "--job-status", "SUCCEEDED")["jobSummaryList"]
    (validate,) = [job for job in jobs if job["jobName"] == f"validate-{execution['name']}"]
    job = aws(stack, "batch", "describe-jobs", "--jobs", validate["jobId"])["jobs"][0]
    stream = job["container"]["logStreamName"]
    group = environment["RATESFLOW_LOG_GROUP"]
    events = aws(stack, "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream)["events"]
    assert json.loads(events[-1]["message"])["message"] == "accepted"


def test_aws_command_reaches_every_service(stack: Stack) -> None:
    """Commands for queues, topics, jobs and logs need only the printed environment to reach the stack."""
    environment = stack.environment
    queue = environment["RATESFLOW_DEAD_LETTER_QUEUE_URL"]
    attributes = ["--attribute-names", "ApproximateNumberOfMessages"]
    found = aws(stack, "sqs", "get-queue-attributes", "--queue-url", queue, *attributes)
    assert found["Attributes"]["ApproximateNumberOfMessages"].isdigit()
    topics = aws(stack, "sns", "list-topics")["Topics"]
    assert {"TopicArn": environment["RATESFLOW_TOPIC_ARN"]} in topics
    queues = aws(stack, "batch", "describe-job-queues")["jobQueues"]
    assert environment["RATESFLOW_JOB_QUEUE"] in [each["jobQueueArn"] for each in queues]
    groups = aws(stack, "logs", "describe-log-groups")["logGroups"]
    assert environment["RATESFLOW_LOG_GROUP"] in [group["logGroupName"] for group in groups]


def copy_is_running(stack: Stack) -> bool:
    """Return whether a COPY into a staging table is running and has processed rows."""
    query = "SELECT 1 FROM pg_stat_progress_copy WHERE relid::regclass::text LIKE %s AND tuples_processed > 0"
    return bool(stack.query(query, "staging_%"))


def test_killed_load_is_retried_and_commits_once(stack: Stack, tmp_path: Path) -> None:
    """After SIGKILL during the COPY, Batch retries the load, and every row is loaded once."""
    path = write(tmp_path / "killed-once.csv", csv(rows(400_000, seed=16, lanes=200)))
    stack.run("ingest", str(path), "--no-wait")
    wait_for(lambda: copy_is_running(stack), pause=0.01)
    signal_to(tasks_of(stack, "load", "killed-once-"), signal.SIGKILL)
    row = wait_for(
        lambda: stack.query(
            "SELECT batch_no, state FROM batches WHERE batch_id LIKE 'killed-once-%%' AND state <> 'open'"
        )
    )
    assert row[0][1] == "committed"
    assert stack.query("SELECT count(*) FROM prices WHERE batch_no = %s", row[0][0]) == [(400_000,)]
    jobs = stack.aws("batch").list_jobs(
        jobQueue=stack.environment["RATESFLOW_JOB_QUEUE"],
        filters=[{"name": "JOB_NAME", "values": ["load-killed-once-*"]}],
    )["jobSummaryList"]
    (load,) = stack.aws("batch").describe_jobs(jobs=[job["jobId"] for job in jobs])["jobs"]
    assert [attempt["container"]["exitCode"] for attempt in load["attempts"]] == [137, 0]


def test_load_killed_at_every_attempt_fails_with_a_cause(stack: Stack, tmp_path: Path) -> None:
    """The execution fails with a readable cause and leaves nothing behind; when the file is sent again, it commits."""
    path = write(tmp_path / "killed-always.csv", csv(rows(100_000, seed=17, lanes=200)))
    before = stack.query("SELECT version FROM data_version")
    query = "SELECT batch_id, batch_no, message FROM batches WHERE key LIKE '%%killed-always.csv' AND state = 'failed'"
    with Signaller(stack, "load", "killed-always-", signal.SIGKILL):
        stack.run("ingest", str(path), "--no-wait")
        ((batch_id, number, message),) = wait_for(lambda: stack.query(query))
    assert "load failed after 3 attempts with exit code 137" in message
    execution = ended(stack, batch_id)
    assert (execution["status"], execution["error"], execution["cause"]) == ("FAILED", "BatchFailed", message)
    assert stack.query("SELECT to_regclass(%s)", f"staging_{number}") == [(None,)]
    assert stack.query("SELECT count(*) FROM rates WHERE batch_no = %s", number) == [(0,)]
    assert stack.query("SELECT version FROM data_version") == before
    assert "exit code 137" in stack.run("show", batch_id).stdout
    assert stack.ingest(path)["outcome"] == "committed"
    assert stack.query("SELECT version FROM data_version")[0][0] == before[0][0] + 1


def test_every_outcome_is_notified(stack: Stack, tmp_path: Path) -> None:
    """Each outcome has one notification, with attributes for filters and a JSON body."""
    sqs, queue = stack.aws("sqs"), stack.environment["RATESFLOW_NOTIFICATIONS_QUEUE_URL"]
    path = write(tmp_path / "notified.csv", csv(rows(300, seed=18)))
    results = [stack.ingest(path), stack.ingest(path, code=4)]
    bodies = []

    def received() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(json.loads(message["Body"]))
        return {"committed", "duplicate"} <= {
            body["MessageAttributes"]["outcome"]["Value"] for body in bodies if "notified-" in body["Message"]
        }

    wait_for(received)
    notifications = [json.loads(body["Message"]) for body in bodies if "notified-" in body["Message"]]
    assert [(t["batch_id"], t["outcome"]) for t in notifications] == [(s["batch_id"], s["outcome"]) for s in results]
    assert len({t["notification_id"] for t in notifications}) == 2


def test_reference_load_command(stack: Stack, tmp_path: Path) -> None:
    """`reference load` prints the number of changes; a port of an unknown region is rejected, and nothing changes."""
    ports = write(tmp_path / "ports.csv", b"code,name,parent_slug\nISREY,Reykjavik,iceland\n")
    regions = write(tmp_path / "regions.csv", b"slug,name,parent_slug\niceland,Iceland,northern_europe\n")
    assert "2 added" in stack.run("reference", "load", str(ports), str(regions)).stdout
    assert stack.query("SELECT name FROM ports WHERE code = 'ISREY'") == [("Reykjavik",)]
    orphan = write(tmp_path / "orphan.csv", b"code,name,parent_slug\nISAKU,Akureyri,nowhere\n")
    rejected = stack.run("reference", "load", str(orphan), str(regions), code=None)
    assert rejected.returncode != 0
    assert "nowhere" in rejected.stdout + rejected.stderr
    assert stack.query("SELECT count(*) FROM ports WHERE code = 'ISAKU'") == [(0,)]
