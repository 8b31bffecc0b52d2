"""The permissions that a request needs: actions, and the resources that they act on.

Actions and resources are those of the Service Authorization Reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/. The table contains every action that a component
calls. An action that is missing needs permission for all resources, which a policy with named resources denies; this
keeps the table complete.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ratesflow.local.aws.iam.object_requests import object_permissions
from ratesflow.local.aws.iam.policy import Permission

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Signer:
    """The access key that signed a request, with the region and service of its signature."""

    key: str
    region: str
    service: str


@dataclass(frozen=True)
class ArnScope:
    """The region and account that complete a resource name to an ARN."""

    region: str
    account: str

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a name; an ARN is returned unchanged."""
        return name if name.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account}:{name}"


def find_signer(environ: Mapping[str, Any]) -> Signer | None:
    """Return the signer of a request, from its header or its query; None if it is unsigned.

    A signature of version 2 is taken as one of S3; it has no region.
    """
    header, query = environ.get("HTTP_AUTHORIZATION", ""), environ.get("QUERY_STRING", "")
    _, found, scope = header.partition("Credential=")
    if not found and "X-Amz-Credential=" in query:
        scope = dict(parse_qsl(query))["X-Amz-Credential"]
    parts = scope.partition(",")[0].strip().split("/")
    if len(parts) == 5:
        return Signer(parts[0], parts[2], parts[3].lower())
    if header.startswith("AWS "):
        return Signer(header.removeprefix("AWS ").partition(":")[0].strip(), "", "s3")
    return Signer(dict(parse_qsl(query))["AWSAccessKeyId"], "", "s3") if "AWSAccessKeyId=" in query else None


def required_permissions(environ: dict[str, Any], signer: Signer, account: str) -> list[Permission]:
    """Return all permissions that the request needs.

    The body is read and put back, except for S3, where it may be large.
    """
    if signer.service == "s3":
        return object_permissions(environ)
    action, body = _action(environ, signer.service)
    return list(_table(f"{signer.service}:{action}", body, ArnScope(signer.region, account)))


def _action(environ: dict[str, Any], service: str) -> tuple[str, Body]:
    raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(raw)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2], _document(raw)
    if service == "batch":  # its operations are paths
        path = environ["PATH_INFO"].removeprefix("/v1/")
        return _BATCH.get(path, path), _document(raw)
    form = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    return form.get("Action", "?"), form


def _document(raw: bytes) -> Body:
    """Return the JSON body; an empty one if it is not an object, which the service itself reports."""
    try:
        found = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


_BATCH = {
    name.lower(): name
    for name in (
        *("SubmitJob", "DescribeJobs", "ListJobs", "TerminateJob", "CancelJob"),
        *("DescribeJobDefinitions", "RegisterJobDefinition", "DescribeJobQueues"),
    )
}


def _table(action: str, body: Body, scope: ArnScope) -> Iterator[Permission]:
    service, _, operation = action.partition(":")
    found = _RESOURCES.get(action, _queue if service == "sqs" else _any)
    for resource, context in found(body, scope):
        yield Permission(f"{service}:{operation.removesuffix('Batch')}", resource, context)
        if service == "batch" and body.get("tags"):
            yield Permission("batch:TagResource", resource)
    if action == "batch:RegisterJobDefinition":
        properties = body.get("containerProperties", {})
        for role in filter(None, (properties.get("jobRoleArn"), properties.get("executionRoleArn"))):
            yield Permission("iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"})


Found = Callable[[Body, ArnScope], Iterator[tuple[str, dict[str, str]]]]


def _any(_: Body, __: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    yield "*", {}


def _named(service: str, name: str, prefix: str = "", suffix: str = "") -> Found:
    """Return a function for the resource that a field names, by ARN or by name; `*` without the field."""

    def found(body: Body, scope: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
        given = body.get(name)
        if not given:
            yield "*", {}
        for value in map(str, given if isinstance(given, list) else filter(None, [given])):
            yield scope.arn(service, value if value.startswith("arn:") else f"{prefix}{value}{suffix}"), {}

    return found


def _queue(body: Body, scope: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    name = str(body.get("QueueUrl") or body.get("QueueName", "")).rpartition("/")[2]
    yield scope.arn("sqs", name) if name else "*", {}


def _machine(body: Body, _: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the state machine without its version or alias, which is a condition key (its guide, "Authorization")."""
    parts = str(body.get("stateMachineArn", "*")).split(":")
    yield ":".join(parts[:7]), {"states:StateMachineQualifier": parts[7]} if len(parts) > 7 else {}


def _submission(body: Body, scope: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    for field, prefix in (("jobQueue", "job-queue/"), ("jobDefinition", "job-definition/")):
        value = str(body.get(field, "*"))
        yield scope.arn("batch", value if value.startswith("arn:") else f"{prefix}{value}"), {}


def _service(body: Body, scope: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    cluster = str(body.get("cluster", "default")).rpartition("/")[2]
    for name in map(str, body.get("services") or [body.get("service", "*")]):
        yield scope.arn("ecs", name if name.startswith("arn:") else f"service/{cluster}/{name}"), {}


def _path(body: Body, scope: ArnScope) -> Iterator[tuple[str, dict[str, str]]]:
    yield scope.arn("ssm", f"parameter{str(body.get('Path', '')).rstrip('/')}/"), {}


_EXECUTION = _named("states", "executionArn")
_PARAMETERS = _named("ssm", "Names", "parameter")
_LINES = _named("logs", "logGroupName", "log-group:", ":log-stream:")
_REPOSITORY = _named("ecr", "repositoryName", "repository/")
_RESOURCES: dict[str, Found] = {
    "batch:SubmitJob": _submission,
    "batch:DescribeJobs": _any,
    "batch:ListJobs": _any,
    "batch:DescribeJobDefinitions": _any,
    "batch:DescribeJobQueues": _any,
    "batch:TerminateJob": _named("batch", "jobId", "job/"),
    "batch:CancelJob": _named("batch", "jobId", "job/"),
    "batch:RegisterJobDefinition": _named("batch", "jobDefinitionName", "job-definition/"),
    "states:StartExecution": _machine,
    "states:ListExecutions": _machine,
    "states:DescribeStateMachine": _machine,
    "states:DescribeExecution": _EXECUTION,
    "states:DescribeStateMachineForExecution": _EXECUTION,
    "states:GetExecutionHistory": _EXECUTION,
    "states:StopExecution": _EXECUTION,
    "sns:Publish": _named("sns", "TopicArn"),
    "secretsmanager:GetSecretValue": _named("secretsmanager", "SecretId", "secret:"),
    "logs:FilterLogEvents": _LINES,
    "logs:GetLogEvents": _LINES,
    "logs:DescribeLogStreams": _LINES,
    "ssm:GetParametersByPath": _path,
    "ssm:GetParameters": _PARAMETERS,
    "ssm:GetParameter": _named("ssm", "Name", "parameter"),
    "ecs:DescribeServices": _service,
    "ecs:UpdateService": _service,
    "ecr:ListImages": _REPOSITORY,
    "ecr:DescribeImages": _REPOSITORY,
    "ecr:BatchGetImage": _REPOSITORY,
    "ecr:PutImage": _REPOSITORY,
    "ecr:GetAuthorizationToken": _any,
    "sts:GetCallerIdentity": lambda _, __: iter(()),  # always allowed
}
