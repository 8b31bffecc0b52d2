"""boto3's clients, none of whose calls lasts for more than two minutes, tries and all."""

from typing import Any

import boto3
from botocore.config import Config

from ratesflow.loader.runtime import watchdog

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 30, 3


def client(service: str) -> Any:
    """Return a client as the environment says how to reach the service."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    made = boto3.client(service, config=config)  # type: ignore[call-overload]
    made.meta.events.register("after-call", lambda **_: watchdog.alive())
    return made
