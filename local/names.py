"""Names, account and region of the embedded AWS."""

# A newer region: in the older ones version 1 of the `aws` command sends SQS requests to AWS itself and ignores
# AWS_ENDPOINT_URL (awscli/customizations/overridesslcommonname.py).
REGION = "eu-central-2"
ACCOUNT = "123456789012"  # moto's default account
BUCKET = "ratesflow-local"
PREFIX = "ratesflow"
ALIAS = "live"
ENVIRONMENT = "local"
LOG_GROUP = "/aws/batch/job"
INBOX = "incoming/"
JOB_QUEUE = f"{PREFIX}-local"


def arn(service: str, name: str) -> str:
    """Return the ARN of a resource in the embedded AWS."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
