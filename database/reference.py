"""Reference data: ports in a tree of regions, read from two CSV files and stored in the database.

`ratesflow.database.reference_change` writes them.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

# UN/LOCODE: two letters for the country, then three letters or digits from 2 to 9 (UNECE Recommendation 16).
PORT_CODE = re.compile(r"[A-Z]{2}[A-Z2-9]{3}")
BUILTIN = Path(__file__).parent / "builtin"
REGION_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")
MAX_LENGTH = {"slug": 100, "name": 200, "parent_slug": 100}
"""The maximum length of a column, in characters; codes have a fixed form."""

Row = TypeVar("Row", "Port", "Region")


class ReferenceDataError(Exception):
    """Ports or regions that cannot be loaded; the message names the file, the line, the error and the remedy."""


@dataclass(frozen=True)
class Region:
    """A named set of ports and smaller regions; `parent_slug` is None at the top of the tree."""

    slug: str
    name: str
    parent_slug: str | None


@dataclass(frozen=True)
class Port:
    """A port by its UN/LOCODE, and the smallest region that contains it."""

    code: str
    name: str
    parent_slug: str


@dataclass(frozen=True)
class Reference:
    """All ports by code and all regions by slug."""

    ports: Mapping[str, Port]
    regions: Mapping[str, Region]

    @cached_property
    def regions_of(self) -> dict[str, tuple[str, ...]]:
        """The regions that contain each port, from the smallest to the largest."""
        return {code: self.line(port.parent_slug) for code, port in self.ports.items()}

    @cached_property
    def members(self) -> dict[str, frozenset[str]]:
        """The codes of the ports in each region, at any depth."""
        found: dict[str, set[str]] = {slug: set() for slug in self.regions}
        for code, slugs in self.regions_of.items():
            for slug in slugs:
                found[slug].add(code)
        return {slug: frozenset(codes) for slug, codes in found.items()}

    def line(self, slug: str | None) -> tuple[str, ...]:
        """Return `slug` and all regions above it. Raises ReferenceDataError on an orphan or a cycle."""
        path: list[str] = []
        while slug is not None:
            if slug in path:
                cycle = " -> ".join([*path[path.index(slug) :], slug])
                raise ReferenceDataError(f"regions form a cycle: {cycle}")
            if slug not in self.regions:
                raise ReferenceDataError(f"there is no region {slug!r}: add it to the file of regions")
            path.append(slug)
            slug = self.regions[slug].parent_slug
        return tuple(path)


def builtin() -> Reference:
    """Return the ports and regions that the embedded stack loads into an empty database."""
    return read_files(BUILTIN / "ports.csv", BUILTIN / "regions.csv")


def read_files(ports: Path, regions: Path) -> Reference:
    """Read the two files at these paths, as `read_reference` does."""
    return read_reference(decoded(ports.read_bytes(), "ports"), decoded(regions.read_bytes(), "regions"))


def decoded(data: bytes, what: str) -> TextIO:
    """Return the text of a file. Raises ReferenceDataError with the line and column of a byte that is not UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ReferenceDataError(f"{what}: this is UTF-16: save it as UTF-8")
    try:
        return io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        bad = error.start + (3 if data.startswith(codecs.BOM_UTF8) else 0)
        line = data.count(b"\n", 0, bad) + 1
        column = len(data[data.rfind(b"\n", 0, bad) + 1 : bad].decode("utf-8-sig")) + 1
        raise ReferenceDataError(
            f"{what}, line {line}, column {column}: the byte 0x{data[bad]:02X} is not valid UTF-8: "
            "save the file as UTF-8; it may be Latin-1, the format of some spreadsheets"
        ) from None


def read_reference(ports: TextIO, regions: TextIO) -> Reference:
    """Read `code,name,parent_slug` and `slug,name,parent_slug`, each with a header, columns in any order.

    Raises ReferenceDataError with the line of a malformed or repeated row. Parents are not checked here but by
    `check`, since a parent may already be in the database.
    """
    return Reference(
        ports={
            row["code"]: Port(row["code"], row["name"], row["parent_slug"])
            for row in _rows(ports, "ports", "code", PORT_CODE, "five characters such as CNSHA (UN/LOCODE)")
        },
        regions={
            row["slug"]: Region(row["slug"], row["name"], row["parent_slug"] or None)
            for row in _rows(regions, "regions", "slug", REGION_SLUG, "lower case such as china_main")
        },
    )


def _rows(file: TextIO, what: str, key: str, pattern: re.Pattern[str], form: str) -> Iterable[dict[str, str]]:
    reader = csv.DictReader((line.removeprefix("\ufeff") for line in file), strict=True)
    wanted = {key, "name", "parent_slug"}
    if set(reader.fieldnames or ()) != wanted:
        raise ReferenceDataError(
            f"{what}: the first line must name the columns {key},name,parent_slug, "
            f"but is {_shown(','.join(reader.fieldnames or ['empty']))}"
        )
    seen: dict[str, int] = {}
    try:
        for row in reader:
            at = f"{what}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ReferenceDataError(f"{at}: there must be three fields: {key},name,parent_slug")
            _check_texts(row, at)
            if not pattern.fullmatch(row[key]):
                raise ReferenceDataError(f"{at}: {key} {row[key]!r} is not {form}")
            if not row["name"].strip():
                raise ReferenceDataError(f"{at}: {row[key]} has no name")
            if row[key] in seen:
                raise ReferenceDataError(f"{at}: {row[key]} is already on line {seen[row[key]]}")
            if key == "code" and not row["parent_slug"]:
                raise ReferenceDataError(f"{at}: port {row[key]} has no region: fill in parent_slug")
            seen[row[key]] = reader.line_num
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ReferenceDataError(f"{what}, after line {reader.line_num}: {error}") from None


def _check_texts(row: Mapping[str, str], at: str) -> None:
    """Raise ReferenceDataError for control characters, which cannot be stored or shown, and for long texts."""
    for column, text in row.items():
        odd = next((place for place, sign in enumerate(text) if unicodedata.category(sign) == "Cc"), None)
        if odd is not None:
            raise ReferenceDataError(
                f"{at}, {column}: character {odd + 1} is a control character, U+{ord(text[odd]):04X}: remove it"
            )
        if len(text) > MAX_LENGTH.get(column, len(text)):
            raise ReferenceDataError(
                f"{at}, {column}: {len(text):,} characters; at most {MAX_LENGTH[column]} are allowed"
            )


def _shown(text: str) -> str:
    return text[:200] if text.isprintable() else repr(text[:200])


def check(reference: Reference) -> None:
    """Raise ReferenceDataError unless every parent exists and no region contains itself."""
    for kind, rows in (("region", reference.regions.values()), ("port", reference.ports.values())):
        for row in rows:
            try:
                reference.line(row.parent_slug if isinstance(row, Port) else row.slug)
            except ReferenceDataError as error:
                name = row.code if isinstance(row, Port) else row.slug
                raise ReferenceDataError(f"{kind} {name}: {error}") from None


def stored(cursor: "Cursor") -> tuple[Reference, int]:
    """Return the reference data in the database and its version, from one snapshot."""
    cursor.execute(
        "SELECT (SELECT version FROM reference_version),"
        " (SELECT coalesce(json_agg(ARRAY[code, name, parent_slug]), '[]') FROM ports),"
        " (SELECT coalesce(json_agg(ARRAY[slug, name, parent_slug]), '[]') FROM regions)"
    )
    row = cursor.fetchone()
    assert row is not None
    version, ports, regions = row
    return Reference(
        ports={code: Port(code, *rest) for code, *rest in ports},
        regions={slug: Region(slug, *rest) for slug, *rest in regions},
    ), version
