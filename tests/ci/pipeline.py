"""Reads .gitlab-ci.yml as GitLab does, with the features it uses: `extends`, `!reference`, anchors, defaults."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".gitlab-ci.yml"
NO_JOBS = {"stages", "workflow", "variables", "default", "include"}


class _Reference(tuple[str, ...]):
    """A reference to a part of another job."""


class _Loader(yaml.SafeLoader):
    """A YAML loader with GitLab's tag."""


_Loader.add_constructor("!reference", lambda loader, node: _Reference(loader.construct_sequence(node)))


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Return the parsed file."""
    found: dict[str, Any] = yaml.load(FILE.read_text(), Loader=_Loader)
    return found


def jobs() -> dict[str, dict[str, Any]]:
    """Return the jobs that can run, by name, with their templates merged."""
    return {name: job(name) for name in document() if name not in NO_JOBS and not name.startswith(".")}


def job(name: str) -> dict[str, Any]:
    """Return a job or a template, with its templates merged and its references resolved."""
    entry = document()[name]
    parents = entry.get("extends", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        merged = _merged(merged, job(parent))
    own = {key: _resolved(value) for key, value in entry.items() if key != "extends"}
    return _merged(merged, own)


def script(name: str) -> str:
    """Return a job's `before_script` and `script` as one script, as the runner does."""
    found = job(name)
    lines = [*found.get("before_script", []), *found["script"]]
    # As GitLab's runner does, as far as a plain shell can.
    return "\n".join(["set -e", *lines]) + "\n"


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(below[key], above[key]) for key in below.keys() & above.keys() if _maps(below, above, key)}
    return {**below, **above, **both}


def _maps(below: dict[str, Any], above: dict[str, Any], key: str) -> bool:
    return isinstance(below[key], dict) and isinstance(above[key], dict)


def _resolved(value: Any) -> Any:
    """Resolve references; in a list, insert their items."""
    if isinstance(value, _Reference):
        return job(value[0])[value[1]]
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in value:
        items += _resolved(item) if isinstance(item, _Reference) else [item]
    return items
