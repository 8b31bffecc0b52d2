"""The embedded AWS: S3, EventBridge, SQS, SNS, Step Functions, Batch and logs on one port, with no account.

`python -m ratesflow.local.aws` runs it as a process of its own; `serve` runs it in this one.
"""

from ratesflow.local.aws.server import Server, StartError, serve
from ratesflow.local.aws.settings import Settings

__all__ = ["Server", "Settings", "StartError", "serve"]
