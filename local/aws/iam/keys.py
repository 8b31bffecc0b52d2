"""The permissions for the encryption key that actions need: bucket, secrets and topic are encrypted with it.

The embedded AWS does not encrypt, but checks these permissions as if it did. See terraform/encryption.tf, and the
chapters "Using SSE-KMS" of the guides to S3, Secrets Manager and SNS.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratesflow.local.aws.iam.policy import Permission

_READ, _WRITE = "kms:Decrypt", "kms:GenerateDataKey"
_NEEDS = {
    "s3:GetObject": (_READ,),
    "s3:GetObjectVersion": (_READ,),
    "s3:PutObject": (_WRITE, _READ),  # Decrypt for uploads in parts
    "secretsmanager:GetSecretValue": (_READ,),
    "sns:Publish": (_WRITE, _READ),
}


def key_arn(region: str, account: str) -> str:
    """Return the ARN of the encryption key of the embedded AWS."""
    return f"arn:aws:kms:{region}:{account}:key/ratesflow"


def key_permissions(permission: Permission, region: str, account: str) -> Iterator[Permission]:
    """Yield the permissions for the key that an action needs."""
    for action in _NEEDS.get(permission.action, ()):
        yield Permission(action, key_arn(region, account))
