"""Every error of PostgreSQL has one meaning, and the loader's exit code follows from it."""

import psycopg2
import pytest
from psycopg2 import errorcodes, errors

from ratesflow.database.sqlstates import KINDS, Kind, kind_of, kind_of_code
from ratesflow.loader.runtime.connection import task_error
from tests.fix_database import Database

CODES = sorted({code for name, code in vars(errorcodes).items() if name.isupper() and len(str(code)) == 5})
# What a restart, a failover, a server that takes no writes, a full disk or a lock gives.
PASSING = {
    "08000 08001 08003 08004 08006 08007 08P01 25006 25P03 25P04 28P01 40001 40003 40P01 53000 53100 53200 53300"
    " 55006 55P03 57014 57P01 57P02 57P03 57P05 58000 58030 72000"
}
PASSING_CODES = set(" ".join(PASSING).split())


class Failed(psycopg2.Error):
    """An error with a code, as the server's are."""

    def __init__(self, code: str | None) -> None:
        super().__init__("words")
        self.code = code

    @property
    def pgcode(self) -> str | None:  # type: ignore[override]
        """The SQLSTATE."""
        return self.code


def test_the_list_is_whole() -> None:
    """psycopg2 knows more than 200 codes; those that pass are among them, or are newer than its list."""
    assert len(CODES) > 200
    assert PASSING_CODES - set(CODES) <= {"25P04", "57P05", "72000"}


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_one_of_again_closed_and_defect(code: str) -> None:
    """Exit code 75 for what passes, 70 for all else, whatever class psycopg2 puts the error in."""
    assert task_error(Failed(code)).exit_code == (75 if code in PASSING_CODES else 70)


def test_what_our_own_functions_refuse_is_a_closed_batch(database: Database) -> None:
    """A task that comes too late is told so by the schema, with the code that means: do not go on."""
    for function in ("stage_batch", "attach_batch", "drop_batch"):
        with pytest.raises(psycopg2.Error, match="batch 99 is") as failure:
            database.ask(f"SELECT {function}(99)")
        assert kind_of(failure.value) is Kind.CLOSED
        assert task_error(failure.value).exit_code == 65


def test_an_error_without_a_code_is_a_broken_connection_or_our_own_mistake() -> None:
    """libpq's own errors have no code; they pass, while a wrong call of psycopg2 does not."""
    assert kind_of(psycopg2.OperationalError("server closed the connection unexpectedly")) is Kind.RECONNECT
    assert kind_of(psycopg2.InterfaceError("connection already closed")) is Kind.RECONNECT
    assert kind_of(psycopg2.DatabaseError("error with status PGRES_FATAL_ERROR and no message")) is Kind.RECONNECT
    assert kind_of(psycopg2.ProgrammingError("can't adapt type 'dict'")) is Kind.DEFECT
    assert kind_of(errors.LockNotAvailable("made here")) is Kind.RECONNECT


def test_a_class_counts_where_its_code_is_not_listed() -> None:
    """A code of a later PostgreSQL falls to its class, or is a defect."""
    assert kind_of_code("08ZZZ") is Kind.RECONNECT
    assert kind_of_code("ZZ999") is Kind.DEFECT
    assert all(len(code) in (2, 5) for code in KINDS)
