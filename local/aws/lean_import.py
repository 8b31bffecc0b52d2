"""Imports moto without what it would compute at the import for EC2, whose instances this stack does not have.

moto.batch imports moto.ec2, which reads 91 files of instance types and asks three times for all regions: half of the
processor time of the import of moto 5.2.5 (0.5 of 1.0 s). To switch it off, leave out the call in `server.serve`;
tests/local/aws/test_moto_needs_patches.py says when moto no longer reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.utilities import utils

_TABLES = "ec2/resources/instance_type"  # instance_types.json, and the folder instance_type_offerings


def import_moto() -> None:
    """Import moto's EC2 with empty tables of instance types; everything imported later finds it so."""
    with _no_instance_types(), _one_session():
        import moto.ec2.models  # noqa: F401


@contextmanager
def _no_instance_types() -> Iterator[None]:
    load = utils.load_resource

    def load_others(filename: str) -> Any:
        if not filename.startswith(_TABLES):
            return load(filename)
        return [] if "offerings" in filename else {}

    utils.load_resource = load_others
    try:
        yield
    finally:
        utils.load_resource = load


@contextmanager
def _one_session() -> Iterator[None]:
    """Let the sessions that moto creates without arguments be one, which reads the regions once."""
    create, shared = boto3.Session, boto3.Session()

    def session(*arguments: Any, **options: Any) -> Any:
        return create(*arguments, **options) if arguments or options else shared

    boto3.Session = session  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        boto3.Session = create  # type: ignore[misc]
