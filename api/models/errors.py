"""The errors of reads; each becomes a 503.

DatabaseUnavailableError
└── OverloadedError
"""


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or does not respond in time."""


class OverloadedError(DatabaseUnavailableError):
    """Too many requests are already waiting for the database."""
