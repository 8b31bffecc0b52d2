"""What things are called in the embedded AWS, and where it says that they are."""

# One of the younger regions: in the older ones version 1 of the `aws` command sends SQS to AWS itself, whatever
# AWS_ENDPOINT_URL says (awscli/customizations/overridesslcommonname.py).
REGION = "eu-central-2"
ACCOUNT = "123456789012"  # the one account of moto
BUCKET = "ratesflow-local"
PREFIX = "ratesflow"
ALIAS = "live"
ENVIRONMENT = "local"
LOG_GROUP = "/aws/batch/job"
INBOX = "incoming/"
JOB_QUEUE = f"{PREFIX}-local"


def arn(service: str, name: str) -> str:
    """Return the ARN of something in the embedded AWS."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
