"""What AWS asks about the encryption key on the way: bucket, secrets and topic are encrypted with it.

The embedded AWS encrypts nothing, but asks the policies as if it did. See terraform/encryption.tf, and the chapters
"Using SSE-KMS" of the guides to S3, Secrets Manager and SNS.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratesflow.local.aws.iam.policy import Ask

_READ, _WRITE = "kms:Decrypt", "kms:GenerateDataKey"
_NEEDS = {
    "s3:GetObject": (_READ,),
    "s3:GetObjectVersion": (_READ,),
    "s3:PutObject": (_WRITE, _READ),  # Decrypt for uploads in parts
    "secretsmanager:GetSecretValue": (_READ,),
    "sns:Publish": (_WRITE, _READ),
}


def key_arn(region: str, account: str) -> str:
    """Return the ARN of the one key of the embedded AWS."""
    return f"arn:aws:kms:{region}:{account}:key/ratesflow"


def asks_of_key(ask: Ask, region: str, account: str) -> Iterator[Ask]:
    """Return what an action asks about the key."""
    for action in _NEEDS.get(ask.action, ()):
        yield Ask(action, key_arn(region, account))
