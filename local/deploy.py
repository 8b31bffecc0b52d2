"""Deploys into the embedded AWS what Terraform deploys to AWS: bucket, queues, job definitions, state machine.

Deploying again is safe: existing resources stay, job definitions get a new revision, and the state machine a new
version, while running executions keep the old ones.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from ratesflow.local.names import ACCOUNT, ALIAS, BUCKET, ENVIRONMENT, INBOX, JOB_QUEUE, LOG_GROUP, PREFIX, REGION
from ratesflow.local.names import arn as _arn
from ratesflow.local.roles import credentials, make_roles, role_arn, role_key
from ratesflow.workflow.client.aws_clients import AwsClients
from ratesflow.workflow.job_definitions import TASKS, JobSettings, job_definition
from ratesflow.workflow.placeholders import definition_text, placeholders, substitute
from ratesflow.workflow.settings import IGNORED_FILES, JOB_PLACEHOLDERS

# The keys of the developer, who may do everything. The parts of the stack have the keys of their own roles.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True)
class Databases:
    """The addresses of the database for the logins of tasks: the owner, which migrates, and the loader."""

    owner: str
    loader: str


@cache
def clients(endpoint: str, part: str | None = None) -> AwsClients:
    """Return the clients of the embedded AWS, independent of the user's own configuration.

    They act under the role of a part of the stack, or, without one, as an administrator.
    """
    return AwsClients(endpoint, CREDENTIALS | (credentials(part) if part else {}))


def deploy(endpoint: str, databases: Databases, definition: str | None = None) -> dict[str, str]:
    """Deploy everything, and return the environment that names it (without the addresses outside AWS).

    `definition` is another state machine, in the Amazon States Language with `${…}` placeholders.
    """
    aws = clients(endpoint)
    secrets = {user: _secret(aws, user, url) for user, url in vars(databases).items()}
    make_roles(aws("iam"), secrets)
    bucket = _bucket(aws)
    queues = _queues(aws)
    topic = _topic(aws, queues["notifications"])
    job_queue = _job_queue(aws)
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{PREFIX}-ingestion"
    settings = {
        "RATESFLOW_STATE_MACHINE_ARN": machine,
        "RATESFLOW_BUCKET": bucket,
        "RATESFLOW_TOPIC_ARN": topic,
        "RATESFLOW_QUEUE_URL": queues["arrivals"],
        "RATESFLOW_ENVIRONMENT": ENVIRONMENT,
        "RATESFLOW_IGNORED_FILES": ",".join(IGNORED_FILES),
    }
    definition = definition or definition_text()
    jobs = _job_definitions(aws, secrets, settings, placeholders(definition))
    values = {"JobQueue": job_queue, "TopicArn": topic, "Bucket": bucket, "Environment": ENVIRONMENT, **jobs}
    alias = _state_machine(aws, role_arn("state-machine"), machine, substitute(definition, values))
    _ensure(aws("logs"), "create_log_group", "ResourceAlreadyExistsException", logGroupName=LOG_GROUP)
    return {
        "AWS_ENDPOINT_URL": endpoint,
        **CREDENTIALS,
        "RATESFLOW_OPERATOR_KEY": role_key("operator"),
        "RATESFLOW_BUCKET": bucket,
        "RATESFLOW_INBOX": f"s3://{bucket}/{INBOX}",
        "RATESFLOW_STATE_MACHINE_ARN": machine,
        "RATESFLOW_STATE_MACHINE_ALIAS_ARN": alias,
        "RATESFLOW_JOB_QUEUE": job_queue,
        "RATESFLOW_JOB_PREFIX": PREFIX,
        "RATESFLOW_LOG_GROUP": LOG_GROUP,
        "RATESFLOW_TOPIC_ARN": topic,
        "RATESFLOW_QUEUE_URL": queues["arrivals"],
        "RATESFLOW_DEAD_LETTER_QUEUE_URL": queues["dead-letter"],
        "RATESFLOW_NOTIFICATIONS_QUEUE_URL": queues["notifications"],
        "RATESFLOW_IGNORED_FILES": settings["RATESFLOW_IGNORED_FILES"],
    }


def _ensure(client: Any, operation: str, there: str, **arguments: Any) -> None:
    """Create something, unless it is there."""
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != there:
            raise


def _bucket(aws: AwsClients) -> str:
    s3 = aws("s3")
    where = {"LocationConstraint": REGION}
    _ensure(s3, "create_bucket", "BucketAlreadyOwnedByYou", Bucket=BUCKET, CreateBucketConfiguration=where)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}})
    return BUCKET


def _queues(aws: AwsClients) -> dict[str, str]:
    """Make the queues, and the rule that puts the events of the inbox into the first."""
    sqs, events = aws("sqs"), aws("events")
    made = {
        name: sqs.create_queue(QueueName=f"{PREFIX}-{name}")["QueueUrl"]
        for name in ("arrivals", "dead-letter", "notifications")
    }
    redrive = {"deadLetterTargetArn": _arn("sqs", f"{PREFIX}-dead-letter"), "maxReceiveCount": 5}
    sqs.set_queue_attributes(
        QueueUrl=made["arrivals"],
        Attributes={"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": "60"},
    )
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [BUCKET]}, "object": {"key": [{"prefix": INBOX}]}},
    }
    events.put_rule(Name=f"{PREFIX}-arrivals", EventPattern=json.dumps(pattern), State="ENABLED")
    target = {"Id": "queue", "Arn": _arn("sqs", f"{PREFIX}-arrivals")}
    events.put_targets(Rule=f"{PREFIX}-arrivals", Targets=[target])
    return made


def _topic(aws: AwsClients, queue: str) -> str:
    """Make the topic; a copy of every notification goes to a queue, where a person or a test can read it."""
    sns = aws("sns")
    topic = str(sns.create_topic(Name=f"{PREFIX}-notifications")["TopicArn"])
    if not sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        name = queue.rsplit("/", 1)[1]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=_arn("sqs", name))
    return topic


def _job_queue(aws: AwsClients) -> str:
    batch, name = aws("batch"), JOB_QUEUE
    found = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    if found:
        return str(found[0]["jobQueueArn"])
    role = role_arn("batch")  # AWS Batch's own: nothing acts under it here, but moto wants one
    _ensure(aws("iam"), "create_role", "EntityAlreadyExists", RoleName=f"{PREFIX}-batch", AssumeRolePolicyDocument="{}")
    batch.create_compute_environment(computeEnvironmentName=name, type="UNMANAGED", state="ENABLED", serviceRole=role)
    order = [{"order": 1, "computeEnvironment": name}]
    made = batch.create_job_queue(jobQueueName=name, state="ENABLED", priority=1, computeEnvironmentOrder=order)
    return str(made["jobQueueArn"])


def _job_definitions(
    aws: AwsClients, secrets: Mapping[str, str], settings: Mapping[str, str], wanted: Set[str]
) -> dict[str, str]:
    """Register the job definitions of all tasks; return the ARNs for the placeholders that are wanted."""
    batch = aws("batch")
    arns = {}
    for task in TASKS.values():
        request = job_definition(JobSettings(prefix=PREFIX, environment=settings), task)
        container = request["containerProperties"]
        container["environment"].append({"name": "DATABASE_SECRET_ARN", "value": secrets[task.login]})
        container["jobRoleArn"] = role_arn(f"task-{task.name}")
        arns[task.name] = batch.register_job_definition(**request)["jobDefinitionArn"]
    return {placeholder: arns[task] for task, placeholder in JOB_PLACEHOLDERS.items() if placeholder in wanted}


def _secret(aws: AwsClients, role: str, url: str) -> str:
    """Keep an address as a secret of the form that RDS writes, so that tasks read it as they do on AWS."""
    from sqlalchemy import make_url

    parts = make_url(url)
    text = json.dumps(
        {
            "username": parts.username,
            "password": parts.password,
            "host": parts.host,
            "port": parts.port,
            "dbname": parts.database,
        }
    )
    secrets = aws("secretsmanager")
    name = f"{PREFIX}/local/{role}"
    try:
        return str(secrets.create_secret(Name=name, SecretString=text)["ARN"])
    except secrets.exceptions.ResourceExistsException:
        return str(secrets.put_secret_value(SecretId=name, SecretString=text)["ARN"])


def _state_machine(aws: AwsClients, role: str, machine: str, definition: str) -> str:
    """Publish the definition as a version, point the alias at it, and return the alias: what is started."""
    states = aws("stepfunctions")
    try:
        states.describe_state_machine(stateMachineArn=machine)
    except states.exceptions.StateMachineDoesNotExist:
        states.create_state_machine(name=machine.rpartition(":")[2], definition=definition, roleArn=role)
    else:  # moto answers a second creation as if it had happened
        states.update_state_machine(stateMachineArn=machine, definition=definition, roleArn=role)
    version = states.publish_state_machine_version(stateMachineArn=machine)["stateMachineVersionArn"]
    routes = [{"stateMachineVersionArn": version, "weight": 100}]
    alias = f"{machine}:{ALIAS}"
    try:
        states.create_state_machine_alias(name=ALIAS, routingConfiguration=routes)
    except states.exceptions.ConflictException:
        states.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=routes)
    return alias
