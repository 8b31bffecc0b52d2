"""Adds missing parts of state machine versions to moto: publishing, listing, deleting, aliases by ARN.

moto 5.2.5 publishes a version only together with a definition (https://github.com/getmoto/moto/pull/8085); the rest of
the API is an open pull request: https://github.com/getmoto/moto/pull/10106.
"""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import StateMachineDoesNotExist
from moto.stepfunctions.models import StepFunctionBackend
from moto.stepfunctions.responses import StepFunctionResponse


class _ConflictError(AWSError):  # type: ignore[misc] # moto is untyped
    """The alias exists with another routing."""

    TYPE = "ConflictException"
    STATUS = 400


def install() -> None:
    """Add the actions in this process."""
    StepFunctionResponse.publish_state_machine_version = _publish
    StepFunctionResponse.list_state_machine_versions = _list
    StepFunctionResponse.delete_state_machine_version = _delete
    StepFunctionBackend.create_state_machine_alias = _idempotent_creation(
        StepFunctionBackend.create_state_machine_alias
    )


def find_alias(backend: Any, arn: str) -> Any | None:
    """Return the alias with this ARN; None for another ARN."""
    for machine in backend.state_machines:
        for alias in machine.aliases.values():
            if alias.arn == arn:
                return alias
    return None


def _machine(response: Any, arn: str) -> Any:
    for machine in response.stepfunction_backend.state_machines:
        if machine.arn == arn:
            return machine
    raise StateMachineDoesNotExist(f"State Machine Does Not Exist: '{arn}'")


def _publish(response: Any) -> Any:
    """Implement PublishStateMachineVersion; an unchanged machine returns its latest version, as on AWS."""
    machine = _machine(response, response._get_param("stateMachineArn"))
    latest = machine.latest_version
    unchanged = latest and (latest.definition, latest.roleArn) == (machine.definition, machine.roleArn)
    if not unchanged:
        machine.publish(response._get_param("description"))
        latest = machine.latest_version
    return ActionResult({"stateMachineVersionArn": latest.arn, "creationDate": latest.creation_date})


def _list(response: Any) -> Any:
    machine = _machine(response, response._get_param("stateMachineArn"))
    versions = [
        {"stateMachineVersionArn": version.arn, "creationDate": version.creation_date}
        for _, version in sorted(machine.versions.items(), reverse=True)
    ]
    return ActionResult({"stateMachineVersions": versions})


def _delete(response: Any) -> Any:
    arn, _, number = response._get_param("stateMachineVersionArn").rpartition(":")
    machine = _machine(response, arn)
    version = machine.versions.pop(int(number), None)
    if version is not None and version is machine.latest_version:
        machine.latest_version = None
    return EmptyResult()


def _idempotent_creation(original: Any) -> Any:
    """Make CreateStateMachineAlias idempotent: with the same routing it returns the existing alias."""

    def create(backend: Any, name: str, routing_configuration: Any, description: str | None) -> Any:
        arn = routing_configuration[0]["stateMachineVersionArn"].rpartition(":")[0]
        existing = find_alias(backend, f"{arn}:{name}")
        if existing is None:
            return original(backend, name, routing_configuration, description)
        if existing.routing_configuration != routing_configuration:
            raise _ConflictError(f"State Machine Alias with a different routing exists: '{existing.arn}'")
        return existing

    return create
