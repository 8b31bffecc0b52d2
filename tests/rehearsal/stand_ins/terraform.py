"""A stand-in for Terraform that records its calls, publishes parameters, and returns invented plans.

tests/rehearsal/tests/test_with_terraform.py tests the same files with real Terraform, where it can run.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.rehearsal.stand_ins import client, folder, note, read, setting

RESOURCES = ("aws_ecs_service.api", "aws_ecs_task_definition.api", "aws_rds_cluster.main[0]")
CHANGES = {
    "image": ("aws_ecs_task_definition.api", "replace"),
    "compute": ("aws_batch_job_queue.tasks", "update"),
    "api_spot": ("aws_ecs_service.api", "replace"),
}
ACTIONS = {"update": ["update"], "replace": ["delete", "create"], "create": ["create"]}


def main(words: list[str]) -> int:
    """Handle one call."""
    note(*words)
    where = words.pop(0) if words[0].startswith("-chdir") else ""
    if words[0] == "version":
        print(json.dumps({"terraform_version": setting("version") or "1.11.4"}))
    elif words[0] == "apply":
        return pre_infra(words) if where.endswith("pre-infra") else apply(words)
    elif words[0] == "plan":
        plan(words)
    elif words[0] == "show":
        print(Path(words[-1]).read_text(encoding="utf-8"))
    elif words[0] == "output":
        print(environment()["RATESFLOW_API_URL"] if words[-1] == "api_url" else "arn:task-definition", end="")
    elif words[0] == "destroy":
        return destroy()
    return 0


def environment() -> dict[str, str]:
    """Return the environment of the embedded stack, in place of what Terraform creates."""
    return dict(read(Path(setting("home") or "") / "environment.json"))


def pre_infra(words: list[str]) -> int:
    """Create the bucket and the registry if they do not exist."""
    aws = client("s3")
    region = aws.meta.region_name
    names = {each["Name"] for each in aws.list_buckets()["Buckets"]}
    if (bucket := f"ratesflow-state-123456789012-{region}") not in names:
        aws.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
        for image in ("loader", "api"):
            client("ecr").create_repository(repositoryName=f"ratesflow/{image}")
    state = next(word.partition("=")[2] for word in words if word.startswith("-state="))
    Path(state).write_text("{}")
    return 0


def plan(words: list[str]) -> None:
    """Write a plan: the first creates everything, later ones contain what variables and images change."""
    file = next(word.partition("=")[2] for word in words if word.startswith("-out="))
    given = [word.removeprefix("-var=") for word in words if word.startswith("-var=")]
    given.append(f"image={os.environ['TF_VAR_api_image']}")  # noqa: SIM112 Terraform's convention
    changes: dict[str, str] = {}
    if not (folder() / "applied").exists():
        changes = dict.fromkeys(RESOURCES, "create")
    elif (applied := read(folder() / "applied")) != sorted(given):
        names = [each.partition("=")[0] for each in {*given} ^ {*applied}]
        changes = dict(CHANGES[name] for name in names if name in CHANGES)
    found = [{"address": address, "change": {"actions": ACTIONS[action]}} for address, action in changes.items()]
    Path(file).write_text(json.dumps({"resource_changes": found, "given": sorted(given)}))


def apply(words: list[str]) -> int:
    """Publish the parameters; by setting, fail, or wait until SIGINT and end in an orderly way."""
    if setting("fail-apply"):
        print("Error: failed on request", file=sys.stderr)
        return 1
    if setting("slow-apply"):
        ended: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: ended.append(number))
        (folder() / "applying").touch()
        while not ended:
            time.sleep(0.02)
        note("apply", "ended", "in", "order")
        return 1
    first = not (folder() / "applied").exists()
    for name, value in environment().items() if first else ():
        parameter = f"/ratesflow/sandbox/{name.removeprefix('RATESFLOW_').lower().replace('_', '-')}"
        client("ssm").put_parameter(Name=parameter, Value=value, Type="String", Overwrite=True)
    (folder() / "applied").write_text(json.dumps(read(Path(words[-1]))["given"]))
    return 0


def destroy() -> int:
    """Delete the parameters; by setting, fail, or wait and ignore signals."""
    if setting("fail-destroy"):
        print("Error: failed on request", file=sys.stderr)
        return 1
    if setting("slow-destroy"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        (folder() / "destroying").touch()
        while setting("slow-destroy"):
            time.sleep(0.02)
        return 1
    ssm = client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/ratesflow/sandbox/")
    for name in [each["Name"] for page in pages for each in page["Parameters"]]:
        ssm.delete_parameter(Name=name)
    (folder() / "applied").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
