"""How to handle each PostgreSQL error: retry, reconnect, stop because the batch is closed, or report a defect.

One table for the loader, the API and upkeep. Codes and classes: PostgreSQL documentation, Appendix A, "PostgreSQL Error
Codes"; which of them a restart, a failover or a standby causes: sections 13.5 "Serialization Failure Handling",
19.11 "Client Connection Defaults" and 26.4 "Hot Standby". An error that is not listed is a defect: a retry cannot help.
"""

from enum import Enum

import psycopg2

BATCH_CLOSED = "RF001"
"""Raised by the schema's own functions: in the ledger, the batch is not in the state that they require."""


class Kind(Enum):
    """How to handle an error."""

    RETRY = "a retry on the same connection may succeed"
    RECONNECT = "a retry on a new connection, perhaps to another server, may succeed"
    CLOSED = "the batch was closed while this task ran, which must stop"
    DEFECT = "a retry cannot help"


KINDS = {
    "08": Kind.RECONNECT,  # connection_exception, the whole class
    "25006": Kind.RECONNECT,  # read_only_sql_transaction: the server is a standby, or a writer that was demoted
    "25P03": Kind.RECONNECT,  # idle_in_transaction_session_timeout: the client was paused or disconnected
    "25P04": Kind.RECONNECT,  # transaction_timeout
    "28P01": Kind.RECONNECT,  # invalid_password: it was rotated after it was read
    "40001": Kind.RETRY,  # serialization_failure, also a conflict with replay on a standby
    "40003": Kind.RECONNECT,  # statement_completion_unknown
    "40P01": Kind.RETRY,  # deadlock_detected
    "53000": Kind.RETRY,  # insufficient_resources
    "53100": Kind.RETRY,  # disk_full: storage grows automatically on Aurora and, up to its limit, on RDS
    "53200": Kind.RETRY,  # out_of_memory, also of the lock table
    "53300": Kind.RECONNECT,  # too_many_connections
    "55006": Kind.RETRY,  # object_in_use
    "55P03": Kind.RETRY,  # lock_not_available: lock_timeout
    "57014": Kind.RETRY,  # query_canceled: statement_timeout, an operator, or a conflict on a standby
    "57P01": Kind.RECONNECT,  # admin_shutdown, also pg_terminate_backend
    "57P02": Kind.RECONNECT,  # crash_shutdown
    "57P03": Kind.RECONNECT,  # cannot_connect_now: starting up, or recovering
    "57P05": Kind.RECONNECT,  # idle_session_timeout
    "58000": Kind.RECONNECT,  # system_error
    "58030": Kind.RECONNECT,  # io_error
    "72000": Kind.RETRY,  # snapshot_too_old
    BATCH_CLOSED: Kind.CLOSED,
}
"""By code, or by class: the first two characters of a code."""

TRANSIENT = (Kind.RETRY, Kind.RECONNECT)


def kind_of(error: psycopg2.Error) -> Kind:
    """Return how to handle an error. One without a code comes from the client side of a broken connection."""
    code = error.pgcode
    if code is None:
        # "server closed the connection unexpectedly" is an OperationalError; in COPY it may be a bare DatabaseError.
        broken = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Kind.RECONNECT if broken or type(error) is psycopg2.DatabaseError else Kind.DEFECT
    return kind_of_code(code)


def kind_of_code(code: str) -> Kind:
    """Return how to handle an SQLSTATE."""
    return KINDS.get(code) or KINDS.get(code[:2], Kind.DEFECT)
