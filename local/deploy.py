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

# The developer's keys, which allow everything. Each component of the stack uses the keys of its own role.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True)
class Databases:
    """The database URLs for the logins of tasks: the owner, which migrates, and the loader."""

    owner: str
    loader: str


@cache
def clients(endpoint: str, component: str | None = None) -> AwsClients:
    """Return the clients of the embedded AWS, independent of the user's own configuration.

    They use the role of a component of the stack, or administrator rights without one.
    """
    return AwsClients(endpoint, CREDENTIALS | (credentials(component) if component else {}))


def deploy(endpoint: str, databases: Databases, definition: str | None = None) -> dict[str, str]:
    """Deploy everything and return the environment variables that name it, without the URLs outside AWS.

    `definition` replaces the default state machine: Amazon States Language with `${…}` placeholders.
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


def _ensure(client: Any, operation: str, exists_code: str, **arguments: Any) -> None:
    """Call a create operation, and ignore the error `exists_code`."""
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != exists_code:
            raise


def _bucket(aws: AwsClients) -> str:
    s3 = aws("s3")
    configuration = {"LocationConstraint": REGION}
    _ensure(s3, "create_bucket", "BucketAlreadyOwnedByYou", Bucket=BUCKET, CreateBucketConfiguration=configuration)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}})
    return BUCKET


def _queues(aws: AwsClients) -> dict[str, str]:
    """Create the queues, and the rule that sends the inbox's events to the first."""
    sqs, events = aws("sqs"), aws("events")
    urls = {
        name: sqs.create_queue(QueueName=f"{PREFIX}-{name}")["QueueUrl"]
        for name in ("arrivals", "dead-letter", "notifications")
    }
    redrive = {"deadLetterTargetArn": _arn("sqs", f"{PREFIX}-dead-letter"), "maxReceiveCount": 5}
    sqs.set_queue_attributes(
        QueueUrl=urls["arrivals"],
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
    return urls


def _topic(aws: AwsClients, queue: str) -> str:
    """Create the topic, and subscribe a queue from which users and tests can read each notification."""
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
    role = role_arn("batch")  # the service role of AWS Batch: unused here, but moto requires one
    _ensure(aws("iam"), "create_role", "EntityAlreadyExists", RoleName=f"{PREFIX}-batch", AssumeRolePolicyDocument="{}")
    batch.create_compute_environment(computeEnvironmentName=name, type="UNMANAGED", state="ENABLED", serviceRole=role)
    order = [{"order": 1, "computeEnvironment": name}]
    created = batch.create_job_queue(jobQueueName=name, state="ENABLED", priority=1, computeEnvironmentOrder=order)
    return str(created["jobQueueArn"])


def _job_definitions(
    aws: AwsClients, secrets: Mapping[str, str], settings: Mapping[str, str], wanted: Set[str]
) -> dict[str, str]:
    """Register the job definitions of all tasks; return the ARNs for the placeholders in `wanted`."""
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
    """Store a database URL as a secret in the format of RDS, which tasks read as on AWS."""
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
    """Publish the definition as a version, point the alias at it, and return the alias's ARN."""
    states = aws("stepfunctions")
    try:
        states.describe_state_machine(stateMachineArn=machine)
    except states.exceptions.StateMachineDoesNotExist:
        states.create_state_machine(name=machine.rpartition(":")[2], definition=definition, roleArn=role)
    else:  # moto reports a second creation as successful
        states.update_state_machine(stateMachineArn=machine, definition=definition, roleArn=role)
    version = states.publish_state_machine_version(stateMachineArn=machine)["stateMachineVersionArn"]
    routes = [{"stateMachineVersionArn": version, "weight": 100}]
    alias = f"{machine}:{ALIAS}"
    try:
        states.create_state_machine_alias(name=ALIAS, routingConfiguration=routes)
    except states.exceptions.ConflictException:
        states.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=routes)
    return alias
