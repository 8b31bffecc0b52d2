"""What each error of PostgreSQL means for who gets it: try again, connect again, the batch is closed, or a defect.

One table for loader, API and upkeep. Codes and classes: PostgreSQL documentation, Appendix A, "PostgreSQL Error
Codes"; which of them a restart, a failover or a standby gives: sections 13.5 "Serialization Failure Handling",
19.11 "Client Connection Defaults" and 26.4 "Hot Standby". What is not listed is a defect: no retry can change it.
"""

from enum import Enum

import psycopg2

BATCH_CLOSED = "RF001"
"""Raised by our own functions in the schema: the ledger does not have the batch in the state that they need."""


class Kind(Enum):
    """What to do about an error."""

    AGAIN = "the same may succeed on the same connection"
    RECONNECT = "the same may succeed on another connection, perhaps to another server"
    CLOSED = "the batch was closed under this task, which must not go on"
    DEFECT = "no retry can change it"


KINDS = {
    "08": Kind.RECONNECT,  # connection_exception, the whole class
    "25006": Kind.RECONNECT,  # read_only_sql_transaction: the server is a standby, or a writer that was demoted
    "25P03": Kind.RECONNECT,  # idle_in_transaction_session_timeout: the client was stopped or cut off
    "25P04": Kind.RECONNECT,  # transaction_timeout
    "28P01": Kind.RECONNECT,  # invalid_password: it was rotated since it was read
    "40001": Kind.AGAIN,  # serialization_failure, also a standby's conflict with what it replays
    "40003": Kind.RECONNECT,  # statement_completion_unknown
    "40P01": Kind.AGAIN,  # deadlock_detected
    "53000": Kind.AGAIN,  # insufficient_resources
    "53100": Kind.AGAIN,  # disk_full: storage grows by itself on Aurora and, up to its limit, on RDS
    "53200": Kind.AGAIN,  # out_of_memory, also of the table of locks
    "53300": Kind.RECONNECT,  # too_many_connections
    "55006": Kind.AGAIN,  # object_in_use
    "55P03": Kind.AGAIN,  # lock_not_available: lock_timeout
    "57014": Kind.AGAIN,  # query_canceled: statement_timeout, an operator, or a standby's conflict
    "57P01": Kind.RECONNECT,  # admin_shutdown, also pg_terminate_backend
    "57P02": Kind.RECONNECT,  # crash_shutdown
    "57P03": Kind.RECONNECT,  # cannot_connect_now: starting up, or recovering
    "57P05": Kind.RECONNECT,  # idle_session_timeout
    "58000": Kind.RECONNECT,  # system_error
    "58030": Kind.RECONNECT,  # io_error
    "72000": Kind.AGAIN,  # snapshot_too_old
    BATCH_CLOSED: Kind.CLOSED,
}
"""By code, or by class, which is a code's first two characters."""

PASSING = (Kind.AGAIN, Kind.RECONNECT)


def kind_of(error: psycopg2.Error) -> Kind:
    """Return what an error means. Without a code it came from the client's side of a broken connection."""
    code = error.pgcode
    if code is None:
        # "server closed the connection unexpectedly" is an OperationalError; in COPY it may be a bare DatabaseError.
        broken = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Kind.RECONNECT if broken or type(error) is psycopg2.DatabaseError else Kind.DEFECT
    return kind_of_code(code)


def kind_of_code(code: str) -> Kind:
    """Return what an SQLSTATE means."""
    return KINDS.get(code) or KINDS.get(code[:2], Kind.DEFECT)
