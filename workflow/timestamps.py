"""Timestamps as people and programs read them: in UTC, with a Z, as in logs and in AWS."""

from datetime import UTC, datetime


def moment(value: datetime | str | None) -> str:
    """Return a time to the second for a person, such as `2021-01-31 09:59:59Z`; an empty text for None."""
    if not value:
        return ""
    return _in_utc(value).strftime("%Y-%m-%d %H:%M:%SZ")


def iso(value: datetime | str) -> str:
    """Return a time for a program (ISO 8601), such as `2021-01-31T09:59:59.123000Z`; as text these sort by time."""
    return _in_utc(value).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _in_utc(value: datetime | str) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
