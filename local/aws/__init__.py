"""The embedded AWS: S3, EventBridge, SQS, SNS, Step Functions, Batch and logs on one port, without an account.

`python -m ratesflow.local.aws` runs it as a separate process; `serve` runs it in the current one.
"""

from ratesflow.local.aws.server import Server, StartError, serve
from ratesflow.local.aws.settings import Settings

__all__ = ["Server", "Settings", "StartError", "serve"]
