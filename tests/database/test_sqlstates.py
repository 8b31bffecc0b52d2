"""Every PostgreSQL error has one classification, which determines the loader's exit code."""

import psycopg2
import pytest
from psycopg2 import errorcodes, errors

from ratesflow.database.sqlstates import KINDS, Kind, kind_of, kind_of_code
from ratesflow.loader.runtime.connection import task_error
from tests.fix_database import Database

CODES = sorted({code for name, code in vars(errorcodes).items() if name.isupper() and len(str(code)) == 5})
# The codes of a restart, a failover, a read-only server, a full disk or a lock.
TRANSIENT = {
    "08000 08001 08003 08004 08006 08007 08P01 25006 25P03 25P04 28P01 40001 40003 40P01 53000 53100 53200 53300"
    " 55006 55P03 57014 57P01 57P02 57P03 57P05 58000 58030 72000"
}
TRANSIENT_CODES = set(" ".join(TRANSIENT).split())


class Failed(psycopg2.Error):
    """A server error with a code."""

    def __init__(self, code: str | None) -> None:
        super().__init__("message")
        self.code = code

    @property
    def pgcode(self) -> str | None:  # type: ignore[override]
        """The SQLSTATE."""
        return self.code


def test_list_of_codes_is_complete() -> None:
    """psycopg2 lists more than 200 codes; the transient ones are among them or newer."""
    assert len(CODES) > 200
    assert TRANSIENT_CODES - set(CODES) <= {"25P04", "57P05", "72000"}


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_an_exit_code(code: str) -> None:
    """A task ends with 75 after a transient code, with 70 after any other, whatever class psycopg2 gives the error."""
    assert task_error(Failed(code)).exit_code == (75 if code in TRANSIENT_CODES else 70)


def test_errors_of_our_functions_mean_a_closed_batch(database: Database) -> None:
    """The schema's functions reject a closed batch with a code that maps to exit code 65."""
    for function in ("stage_batch", "attach_batch", "drop_batch"):
        with pytest.raises(psycopg2.Error, match="batch 99 is") as failure:
            database.query(f"SELECT {function}(99)")
        assert kind_of(failure.value) is Kind.CLOSED
        assert task_error(failure.value).exit_code == 65


def test_errors_without_a_code_are_lost_connections_or_defects() -> None:
    """libpq's errors without a code are transient; a wrong use of psycopg2 is a defect."""
    assert kind_of(psycopg2.OperationalError("server closed the connection unexpectedly")) is Kind.RECONNECT
    assert kind_of(psycopg2.InterfaceError("connection already closed")) is Kind.RECONNECT
    assert kind_of(psycopg2.DatabaseError("error with status PGRES_FATAL_ERROR and no message")) is Kind.RECONNECT
    assert kind_of(psycopg2.ProgrammingError("can't adapt type 'dict'")) is Kind.DEFECT
    assert kind_of(errors.LockNotAvailable("made here")) is Kind.RECONNECT


def test_unlisted_codes_are_classified_by_class() -> None:
    """A code of a later PostgreSQL is classified by its class, or is a defect."""
    assert kind_of_code("08ZZZ") is Kind.RECONNECT
    assert kind_of_code("ZZ999") is Kind.DEFECT
    assert all(len(code) in (2, 5) for code in KINDS)
