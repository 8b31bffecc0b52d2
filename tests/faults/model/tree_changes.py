"""Random changes of the region tree by files of reference data."""

import csv
import io
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations

from ratesflow.database.reference import Port, Reference, ReferenceDataError, Region, check

KINDS = ("port", "ports", "region", "empty", "new", "cycle")
"""One or several ports move; a region gets another parent or loses all ports; new ones; an invalid cycle."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def change(rng: random.Random, tree: Reference, ports: Sequence[str], kind: str) -> Reference:
    """Return a file of reference data that changes a tree; `ports` are those with prices."""
    if kind in ("port", "ports"):
        moved = rng.sample(list(ports), 1 if kind == "port" else 3)
        return Reference(_moved(tree, moved, rng.choice(sorted(tree.regions))), {})
    if kind == "region":
        region = tree.regions[rng.choice(tree.regions_of[rng.choice(list(ports))])]
        others = [slug for slug in sorted(tree.regions) if region.slug not in tree.line(slug)]
        parent = rng.choice([*others, None])
        return Reference({}, {region.slug: replace(region, parent_slug=parent)})
    if kind == "empty":
        slug = tree.ports[rng.choice(list(ports))].parent_slug
        emptied = [code for code, port in tree.ports.items() if port.parent_slug == slug]
        return Reference(_moved(tree, emptied, rng.choice(sorted(tree.regions.keys() - {slug}))), {})
    if kind == "new":
        code = "ZZ" + "".join(rng.choices(_LETTERS, k=3))
        slug = f"new-{code.lower()}"
        regions = {slug: Region(slug, "New", rng.choice([*sorted(tree.regions), None]))}
        return Reference({code: Port(code, "New", slug), **_moved(tree, [rng.choice(list(ports))], slug)}, regions)
    line = tree.regions_of[rng.choice(list(ports))]
    return Reference({}, {line[-1]: replace(tree.regions[line[-1]], parent_slug=line[0])})


def _moved(tree: Reference, codes: Iterable[str], slug: str) -> dict[str, Port]:
    return {code: replace(tree.ports[code], parent_slug=slug) for code in codes}


def applied(tree: Reference, file: Reference) -> Reference:
    """Return the tree after a file; an invalid file does not change it."""
    merged = Reference({**tree.ports, **file.ports}, {**tree.regions, **file.regions})
    try:
        check(merged)
    except ReferenceDataError:
        return tree
    return merged


def possible(tree: Reference, files: Sequence[Reference]) -> list[Reference]:
    """Return the possible trees after any subset of the files in any order; the first is the unchanged tree."""
    found = [tree]
    for count in range(1, len(files) + 1):
        for some in permutations(files, count):
            after = tree
            for file in some:
                after = applied(after, file)
            if after not in found:
                found.append(after)
    return found


def as_csv(file: Reference) -> tuple[bytes, bytes]:
    """Return reference data as CSV files of ports and of regions."""
    ports = [
        ("code", "name", "parent_slug"),
        *((port.code, port.name, port.parent_slug) for port in file.ports.values()),
    ]
    regions = [("slug", "name", "parent_slug")]
    regions += [(region.slug, region.name, region.parent_slug or "") for region in file.regions.values()]
    return _text(ports), _text(regions)


def _text(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
