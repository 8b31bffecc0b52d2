"""boto3 clients whose calls take at most two minutes, retries included."""

from typing import Any

import boto3
from botocore.config import Config

from ratesflow.loader.runtime import watchdog

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 30, 3


def client(service: str) -> Any:
    """Return a client; region, credentials and endpoint come from the usual environment variables."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    created = boto3.client(service, config=config)  # type: ignore[call-overload]
    created.meta.events.register("after-call", lambda **_: watchdog.alive())
    return created
