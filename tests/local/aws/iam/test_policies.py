"""Policies of roles in the embedded AWS: evaluation, the permissions of requests, the format of AccessDenied."""

import io
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from ratesflow.local.aws.iam.policy import Permission, UnsupportedPolicyError, decide, parse
from ratesflow.local.aws.iam.requests import Signer, required_permissions
from ratesflow.local.aws.iam.roles import access_key
from tests.local.aws.aws_stack import ROLE, Stack

ACCOUNT = "123456789012"


def statements(*entries: dict[str, Any]) -> Any:
    """Return the parsed statements of a policy; the default effect is Allow."""
    policy = [
        {"Sid": f"S{number}", "Effect": "Allow", "Resource": "*", **entry} for number, entry in enumerate(entries)
    ]
    return parse(json.dumps({"Version": "2012-10-17", "Statement": policy}))


@pytest.mark.parametrize(
    ("statement", "permission", "allowed"),
    [
        ({"Action": "s3:GetObject"}, Permission("s3:GetObject", "a"), True),
        ({"Action": "s3:getobject"}, Permission("s3:GetObject", "a"), True),  # case does not matter in actions
        ({"Action": "s3:Get*"}, Permission("s3:GetObjectVersion", "a"), True),
        ({"Action": "s3:GetObject"}, Permission("s3:GetObjectVersion", "a"), False),
        ({"Action": ["sqs:SendMessage", "s3:GetObject?"]}, Permission("s3:GetObjects", "a"), True),
        ({"Action": "s3.GetObject"}, Permission("s3:GetObject", "a"), False),  # a full stop is not a wildcard
        ({"Action": "*", "Resource": "arn:aws:s3:::b/in/*"}, Permission("s3:GetObject", "arn:aws:s3:::b/in/x/y"), True),
        (
            {"Action": "*", "Resource": "arn:aws:s3:::b/in/*"},
            Permission("s3:GetObject", "arn:aws:s3:::b/out/in/x"),
            False,
        ),
        ({"Action": "*", "Resource": "arn:aws:s3:::b"}, Permission("s3:GetObject", "arn:aws:s3:::b/x"), False),
        ({"Action": "*", "Resource": "arn:aws:s3:::B"}, Permission("s3:ListBucket", "arn:aws:s3:::b"), False),
        (
            {"Action": "*", "Condition": {"StringLike": {"s3:prefix": "in/*"}}},
            Permission("s3:ListBucket", "b", {"s3:prefix": "in/a"}),
            True,
        ),
        (
            {"Action": "*", "Condition": {"StringLike": {"s3:prefix": ["x", "in/*"]}}},
            Permission("s3:ListBucket", "b", {"s3:prefix": "out/"}),
            False,
        ),
        ({"Action": "*", "Condition": {"StringEquals": {"s3:prefix": ""}}}, Permission("s3:ListBucket", "b"), False),
        (
            {"Action": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
            Permission("s3:ListBucket", "b"),
            False,
        ),
    ],
)
def test_statement_matches_permission(statement: dict[str, Any], permission: Permission, allowed: bool) -> None:
    """Actions and resources match as patterns, and every condition must hold; a missing context key fails it."""
    assert decide(statements(statement), permission).allowed is allowed


def test_explicit_deny_overrides_allow() -> None:
    """An explicit deny overrides any allow, in any order; a deny whose condition does not hold has no effect."""
    allow, deny = {"Action": "s3:*"}, {"Effect": "Deny", "Action": "s3:Put*", "Resource": "b/*"}
    permission = Permission("s3:PutObject", "b/x")
    assert decide(statements(allow, deny), permission) == decide(statements(allow, deny), permission)
    assert not decide(statements(allow, deny), permission).allowed
    assert not decide(statements(deny, allow), permission).allowed
    assert decide(statements(allow, deny), Permission("s3:GetObject", "b/x")).sids == ("S0",)
    insecure = deny | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    assert decide(statements(allow, insecure), permission).allowed
    assert not decide((), permission).allowed


@pytest.mark.parametrize(
    "statement",
    [
        {"NotAction": "s3:*"},
        {"Action": "s3:*", "NotResource": "b"},
        {"Action": "s3:*", "Condition": {"StringNotEquals": {"a": "b"}}},
        {"Action": "s3:*", "Condition": {"StringEqualsIfExists": {"a": "b"}}},
        {"Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}/*"},
    ],
)
def test_unsupported_policy_elements_raise(statement: dict[str, Any]) -> None:
    """An unsupported element, operator or variable raises an error."""
    with pytest.raises(UnsupportedPolicyError):
        statements(statement)


def permissions_of(
    service: str, method: str = "POST", path: str = "/", query: str = "", **more: Any
) -> list[tuple[str, str]]:
    """Return the actions and resources of the permissions that a request needs."""
    body = json.dumps(more.pop("body", {})).encode()
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **more}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    found = required_permissions(environ, Signer("K", "eu-central-2", service), ACCOUNT)
    if service != "s3":
        assert environ["wsgi.input"].read() == body  # the application can still read it
    return [(permission.action, permission.resource.removeprefix("arn:aws:")) for permission in found]


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/b/k/a.csv", "", [("s3:GetObject", "s3:::b/k/a.csv")]),
        ("HEAD", "/b/k", "versionId=1", [("s3:GetObjectVersion", "s3:::b/k")]),
        ("PUT", "/b/k", "x-id=PutObject", [("s3:PutObject", "s3:::b/k")]),
        ("POST", "/b/k", "uploads", [("s3:PutObject", "s3:::b/k")]),
        ("PUT", "/b/k", "partNumber=1&uploadId=u", [("s3:PutObject", "s3:::b/k")]),
        ("DELETE", "/b/k", "uploadId=u", [("s3:AbortMultipartUpload", "s3:::b/k")]),
        ("DELETE", "/b/k", "versionId=1", [("s3:DeleteObjectVersion", "s3:::b/k")]),
        ("GET", "/b", "list-type=2&prefix=in%2F", [("s3:ListBucket", "s3:::b")]),
        ("GET", "/b/", "versions&prefix=in%2F", [("s3:ListBucketVersions", "s3:::b")]),
        ("PUT", "/b", "versioning", [("s3:PUT versioning", "s3:::b")]),
        ("GET", "/", "", [("s3:ListAllMyBuckets", "*")]),
        ("PUT", "/b/k", "acl", [("s3:PutObjectAcl", "s3:::b/k")]),
        ("GET", "/b/k", "acl&versionId=1", [("s3:GetObjectVersionAcl", "s3:::b/k")]),
        ("GET", "/b/k", "attributes", [("s3:GET attributes", "s3:::b/k")]),
        ("POST", "/b/k", "restore", [("s3:POST restore", "s3:::b/k")]),
        ("GET", "/b/k", "response-content-type=x&X-Amz-Expires=5", [("s3:GetObject", "s3:::b/k")]),
        ("GET", "/b/k\u00c3\u00bc", "", [("s3:GetObject", "s3:::b/kü")]),
    ],
)
def test_permissions_of_an_s3_request(method: str, path: str, query: str, expected: list[tuple[str, str]]) -> None:
    """Objects, versions, parts and listings have different actions."""
    assert permissions_of("s3", method, path, query) == expected


def test_copy_needs_permission_for_its_source() -> None:
    """CopyObject needs permission to read its source, in the version that it names."""
    found = permissions_of("s3", "PUT", "/b/k", HTTP_X_AMZ_COPY_SOURCE="/c/l%20m?versionId=1")
    assert found == [("s3:GetObjectVersion", "s3:::c/l m"), ("s3:PutObject", "s3:::b/k")]


def test_upload_headers_need_their_own_permissions() -> None:
    """Tags and grants in the headers of an upload need their own permissions."""
    found = permissions_of("s3", "PUT", "/b/k", HTTP_X_AMZ_ACL="public-read", HTTP_X_AMZ_TAGGING="a=b")
    assert [action for action, _ in found] == ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl"]


WHERE = "eu-central-2:123456789012"
LINES = f"logs:{WHERE}:log-group:g:log-stream:"
MACHINE = f"arn:aws:states:{WHERE}:stateMachine:m"


@pytest.mark.parametrize(
    ("service", "action", "body", "expected"),
    [
        ("sqs", "DeleteMessageBatch", {"QueueUrl": "http://h/1/q"}, [("sqs:DeleteMessage", f"sqs:{WHERE}:q")]),
        ("states", "StartExecution", {"stateMachineArn": f"{MACHINE}:live"}, [("states:StartExecution", MACHINE[8:])]),
        ("logs", "GetLogEvents", {"logGroupName": "g"}, [("logs:GetLogEvents", LINES)]),
        ("ssm", "GetParametersByPath", {"Path": "/a/"}, [("ssm:GetParametersByPath", f"ssm:{WHERE}:parameter/a/")]),
        ("sts", "GetCallerIdentity", {}, []),
        ("kinesis", "PutRecord", {}, [("kinesis:PutRecord", "*")]),
        ("states", "ListExecutions", {"mapRunArn": "m"}, [("states:ListExecutions", "*")]),
        ("logs", "GetLogEvents", {"logGroupIdentifier": "g"}, [("logs:GetLogEvents", "*")]),
        ("ecs", "UpdateService", [], [("ecs:UpdateService", f"ecs:{WHERE}:service/default/*")]),
    ],
)  # fmt: skip
def test_permissions_of_a_json_request(service: str, action: str, body: Any, expected: list[tuple[str, str]]) -> None:
    """Names become ARNs, and an alias its state machine; an unknown or missing resource becomes `*`."""
    assert permissions_of(service, body=body, HTTP_X_AMZ_TARGET=f"Service.{action}") == expected


def test_permissions_of_batch_requests() -> None:
    """SubmitJob needs permission for queue and definition; RegisterJobDefinition needs to pass its roles."""
    body = {"jobQueue": "q", "jobDefinition": "d:3"}
    both = [("batch:SubmitJob", f"batch:{WHERE}:job-{what}") for what in ("queue/q", "definition/d:3")]
    assert permissions_of("batch", path="/v1/submitjob", body=body) == both
    body = {"jobDefinitionName": "d", "containerProperties": {"jobRoleArn": "r", "executionRoleArn": "x"}}
    found = permissions_of("batch", path="/v1/registerjobdefinition", body=body)
    assert found[1:] == [("iam:PassRole", "r"), ("iam:PassRole", "x")]


@pytest.fixture(scope="module")
def restricted_client(stack: Stack) -> Any:
    """Return a function that creates clients of a role that may read one object and nothing else."""
    iam = stack.client("iam")
    iam.create_role(RoleName="bound", AssumeRolePolicyDocument="{}")
    read = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "kms:Decrypt"],
        "Resource": ["arn:aws:kms:us-east-1:123456789012:key/*", "arn:aws:s3:::bound/may*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [read]})
    iam.put_role_policy(RoleName="bound", PolicyName="read", PolicyDocument=policy)
    stack.client("s3").create_bucket(Bucket="bound")
    stack.client("s3").put_object(Bucket="bound", Key="may", Body=b"yes")

    def client(service: str, role: str = ROLE.replace("role/test", "role/bound"), signature: Any = None) -> Any:
        once = Config(retries={"total_max_attempts": 1}, signature_version=signature)
        keys = {"aws_access_key_id": access_key(role), "aws_secret_access_key": "x", "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=stack.endpoint, config=once, **keys)

    return client


@pytest.mark.parametrize(
    ("service", "operation", "given", "code"),
    [
        ("s3", "get_object", {"Bucket": "bound", "Key": "other"}, "AccessDenied"),
        ("s3", "get_object", {"Bucket": "bound", "Key": "may", "VersionId": "null"}, "AccessDenied"),
        ("s3", "get_object", {"Bucket": "bound", "Key": "maybe-gone"}, "AccessDenied"),
        ("s3", "head_object", {"Bucket": "bound", "Key": "other"}, "403"),
        ("s3", "put_object", {"Bucket": "bound", "Key": "may", "Body": b"x" * 3_000_000}, "AccessDenied"),
        ("sqs", "send_message", {"QueueUrl": "http://h/1/q", "MessageBody": "x"}, "AccessDenied"),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": "x"}, "AuthorizationError"),
        ("stepfunctions", "start_execution", {"stateMachineArn": MACHINE}, "AccessDeniedException"),
        ("batch", "submit_job", {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}, "AccessDeniedException"),
        ("secretsmanager", "get_secret_value", {"SecretId": "s"}, "AccessDeniedException"),
        ("logs", "get_log_events", {"logGroupName": "g", "logStreamName": "s"}, "AccessDeniedException"),
        ("iam", "list_roles", {}, "AccessDenied"),
        ("ec2", "describe_instances", {}, "UnauthorizedOperation"),
    ],
)
def test_access_denied_has_the_format_of_the_service(
    restricted_client: Any, service: str, operation: str, given: dict[str, Any], code: str
) -> None:
    """Each protocol has its own format and code; the message names role, action and resource.

    S3 returns AccessDenied for a missing object if the role may not list the bucket.
    """
    assert restricted_client("s3").get_object(Bucket="bound", Key="may")["Body"].read() == b"yes"
    with pytest.raises(ClientError) as raised:
        getattr(restricted_client(service), operation)(**given)
    assert raised.value.response["Error"]["Code"] == code
    if operation != "head_object":
        assert "assumed-role/bound/ratesflow is not authorized to perform: " in str(raised.value)


def test_key_of_a_missing_role_is_rejected(restricted_client: Any) -> None:
    """The key of a role that does not exist is rejected."""
    with pytest.raises(ClientError, match="the role of this access key does not exist yet"):
        restricted_client("s3", "arn:aws:iam::123456789012:role/nobody").list_buckets()


def test_unsigned_requests_are_rejected(restricted_client: Any) -> None:
    """Requests without a signature are rejected, as are those of a role with signature version 2, as in new regions."""
    with pytest.raises(ClientError, match="MissingAuthenticationToken"):
        restricted_client("sqs", signature=UNSIGNED).list_queues()
    with pytest.raises(ClientError, match="authorization mechanism you have provided is not supported"):
        restricted_client("s3", signature="s3").get_object(Bucket="bound", Key="other")
    url = restricted_client("s3", signature="s3-query").generate_presigned_url(
        "get_object", {"Bucket": "bound", "Key": "other"}
    )
    assert "AWSAccessKeyId=" in url
    with pytest.raises(HTTPError, match="403"):
        urlopen(url)


def test_administrator_may_use_old_signatures(stack: Stack, restricted_client: Any) -> None:
    """Signature version 2 of an administrator is accepted."""
    given = {"aws_access_key_id": "local", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    old = boto3.client("s3", endpoint_url=stack.endpoint, config=Config(signature_version="s3"), **given)
    assert old.get_object(Bucket="bound", Key="may")["Body"].read() == b"yes"
