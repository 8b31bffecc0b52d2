"""Checks the Parameters of a state machine's Task states against the shapes that botocore knows."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import Shape


def wrong_parameters(machine: Mapping[str, Any]) -> list[str]:
    """Return the errors in the Parameters of all Task states: unknown, missing, or of another type."""
    return [
        f"{name}: {problem}"
        for name, state in machine["States"].items()
        if state["Type"] == "Task"
        for problem in _problems(state["Parameters"], _input_shape(state["Resource"]), "Parameters")
    ]


@cache
def _input_shape(resource: str) -> Shape:
    """Return the input of `arn:aws:states:::batch:submitJob.sync` or `arn:aws:states:::aws-sdk:s3:getObject`."""
    service, action = resource.removeprefix("arn:aws:states:::").removeprefix("aws-sdk:").split(":")
    action = action.split(".")[0]
    model = botocore.session.get_session().get_service_model(service)
    return model.operation_model(action[0].upper() + action[1:]).input_shape


def _problems(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _structure_problems(value, shape, where)
    elif shape.type_name == "map":
        for key, item in value.items():
            if not key.endswith(".$"):
                yield from _problems(item, shape.value, f"{where}.{key}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _problems(item, shape.member, f"{where}[{index}]")
    elif shape.type_name == "string" and not isinstance(value, str):
        yield f"{where} must be a string, not {value!r}"
    elif shape.type_name in ("integer", "long") and not isinstance(value, int):
        yield f"{where} must be a number, not {value!r}"


def _structure_problems(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} must be an object, not {value!r}"
        return
    members = {name[0].upper() + name[1:]: (name, member) for name, member in shape.members.items()}
    given = {key.removesuffix(".$"): (key, item) for key, item in value.items()}
    for name, (key, item) in given.items():
        if name not in members:
            yield f"{where} has no {name}: it takes {sorted(members)}"
        elif not key.endswith(".$"):
            yield from _problems(item, members[name][1], f"{where}.{name}")
    for name, (original, _) in members.items():
        if original in shape.required_members and name not in given:
            yield f"{where} lacks {name}"
