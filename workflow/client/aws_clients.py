"""Creates the boto3 clients of an environment: of AWS, with the caller's configuration, or of the embedded AWS."""

import os
import threading
from collections.abc import Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

CONNECT_SECONDS, READ_SECONDS = 5, 65  # a long poll of SQS takes up to 20 s
AWS_ATTEMPTS, LOCAL_ATTEMPTS = 5, 3


class AwsClients:
    """The clients of one environment, each created at its first use, which takes longer than most requests.

    With an `endpoint` and `keys` (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION) they use nothing of
    the user's own configuration: no profile, no region, no proxy.
    """

    def __init__(self, endpoint: str | None = None, keys: Mapping[str, str] | None = None) -> None:
        self.session: Any = boto3.session.Session() if keys is None else _isolated_session(keys)
        self.endpoint = endpoint
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()  # a session is not thread-safe; its clients are

    def __call__(self, service: str) -> Any:
        """Return the client of a service."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self.session.client(
                    service, endpoint_url=self.endpoint, config=_config(self.endpoint)
                )
            return self._clients[service]


def _config(endpoint: str | None) -> Config:
    attempts = AWS_ATTEMPTS if endpoint is None else LOCAL_ATTEMPTS
    return Config(
        retries={"mode": "standard", "max_attempts": attempts},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        proxies=None if endpoint is None else {},
    )


def _isolated_session(keys: Mapping[str, str]) -> Any:
    """Return a session that reads neither files nor variables of the user's configuration."""
    unset = dict.fromkeys(("profile", "ca_bundle"), (None, None, None, None))
    files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return boto3.session.Session(
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=keys["AWS_DEFAULT_REGION"],
        botocore_session=botocore.session.Session(session_vars=unset | files),
    )
