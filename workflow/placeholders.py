"""The state machine as the file `definition.asl.json` holds it, and how its `${…}` places are filled."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

DEFINITION_FILE = Path(__file__).with_name("definition.asl.json")

_PLACE = re.compile(r"\$\{(\w+)\}")


def definition_text() -> str:
    """Return the definition in the Amazon States Language, with its places unfilled."""
    return DEFINITION_FILE.read_text(encoding="utf-8")


def places(definition: str) -> set[str]:
    """Return the names of the places of a definition, such as `JobQueue` for `${JobQueue}`."""
    return set(_PLACE.findall(definition))


def substitute(definition: str, values: Mapping[str, str]) -> str:
    """Return the definition with each `${Name}` replaced by `values["Name"]`, as Terraform does.

    Raises ValueError when a place has no value, or a value no place.
    """
    wanted = places(definition)
    missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
    if missing or unknown:
        raise ValueError(
            f"The definition of the state machine has the places {sorted(wanted)}; "
            f"without a value: {missing or 'none'}; values for no place: {unknown or 'none'}."
        )
    return _PLACE.sub(lambda place: json.dumps(values[place[1]])[1:-1], definition)
