"""The state machine as the file `definition.asl.json` holds it, and its `${…}` placeholders."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

DEFINITION_FILE = Path(__file__).with_name("definition.asl.json")

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def definition_text() -> str:
    """Return the definition in the Amazon States Language, with its placeholders."""
    return DEFINITION_FILE.read_text(encoding="utf-8")


def placeholders(definition: str) -> set[str]:
    """Return the names of the placeholders of a definition, such as `JobQueue` for `${JobQueue}`."""
    return set(_PLACEHOLDER.findall(definition))


def substitute(definition: str, values: Mapping[str, str]) -> str:
    """Return the definition with each `${Name}` replaced by `values["Name"]`, as Terraform does.

    Raises ValueError when a placeholder has no value, or a value no placeholder.
    """
    wanted = placeholders(definition)
    missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
    if missing or unknown:
        raise ValueError(
            f"The definition of the state machine has the placeholders {sorted(wanted)}; "
            f"without a value: {missing or 'none'}; values without a placeholder: {unknown or 'none'}."
        )
    return _PLACEHOLDER.sub(lambda found: json.dumps(values[found[1]])[1:-1], definition)
