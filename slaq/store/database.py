"""Running steps of SQL in somebody else's transaction.

What slaq does in the database is written once, as a generator that yields statements and is sent
their rows. ``run`` and ``run_async`` drive it over a psycopg connection of either kind, each call in
a savepoint of its own: an error leaves the caller's transaction usable and unchanged, and nothing is
ever committed here.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import Any, LiteralString, NoReturn, TypeAlias, TypeVar

import attrs
import psycopg
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor, errors
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from slaq.errors import (
    ConcurrentChange,
    InvalidTicket,
    SchemaOutdated,
    TransactionRequired,
    UnknownReference,
)

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
Steps: TypeAlias = Generator["Statement", list[Row], T]

_log = logging.getLogger("slaq")
_vetted: set[tuple[str, str, str]] = set()


@attrs.frozen
class Statement:
    """One statement with its parameters."""

    sql: LiteralString
    parameters: Mapping[str, Any]


def run(conn: Connection[Any], steps: Steps[T]) -> T:
    """Drive ``steps`` over a sync connection, inside its transaction, in a savepoint.

    Raises ``TransactionRequired`` on an autocommit connection outside a transaction or a failed one.
    """
    _require_transaction(conn)
    with Cursor(conn, row_factory=tuple_row) as cursor:
        if _is_new(conn):
            _warn_of_rights(conn, cursor.execute(_RIGHTS).fetchone())
        cursor.execute("SAVEPOINT slaq_call")
        try:
            statement = next(steps)
            while True:
                cursor.execute(statement.sql, statement.parameters)
                statement = steps.send(cursor.fetchall() if cursor.description else [])
        except StopIteration as done:
            cursor.execute("RELEASE SAVEPOINT slaq_call")
            return done.value
        except BaseException as error:
            steps.close()
            if not conn.broken and not conn.closed:
                cursor.execute("ROLLBACK TO SAVEPOINT slaq_call")
                cursor.execute("RELEASE SAVEPOINT slaq_call")
            _explain(error)


async def run_async(conn: AsyncConnection[Any], steps: Steps[T]) -> T:
    """Drive ``steps`` over an async connection; see ``run``."""
    _require_transaction(conn)
    async with AsyncCursor(conn, row_factory=tuple_row) as cursor:
        if _is_new(conn):
            await cursor.execute(_RIGHTS)
            _warn_of_rights(conn, await cursor.fetchone())
        await cursor.execute("SAVEPOINT slaq_call")
        try:
            statement = next(steps)
            while True:
                await cursor.execute(statement.sql, statement.parameters)
                statement = steps.send(await cursor.fetchall() if cursor.description else [])
        except StopIteration as done:
            await cursor.execute("RELEASE SAVEPOINT slaq_call")
            return done.value
        except BaseException as error:
            steps.close()
            if not conn.broken and not conn.closed:
                await cursor.execute("ROLLBACK TO SAVEPOINT slaq_call")
                await cursor.execute("RELEASE SAVEPOINT slaq_call")
            _explain(error)


def _require_transaction(conn: Connection[Any] | AsyncConnection[Any]) -> None:
    status = conn.info.transaction_status
    if status == TransactionStatus.IDLE and conn.autocommit:
        raise TransactionRequired(
            "the connection is in autocommit mode and no transaction is open: wrap the call in `with conn.transaction():`, "
            "so that the ticket and its clocks are committed together"
        )
    if status == TransactionStatus.INERROR:
        raise TransactionRequired("the connection's transaction has failed: roll it back before calling slaq")


def _explain(error: BaseException) -> NoReturn:
    """Raise ``error`` as what it means to the caller."""
    match error:
        case errors.ForeignKeyViolation():
            raise UnknownReference(f"{error.diag.message_detail or error} (table {error.diag.table_name})") from error
        case errors.SerializationFailure() | errors.DeadlockDetected():
            raise ConcurrentChange(f"another transaction changed the ticket; run this one again: {error}") from error
        case errors.UndefinedTable() | errors.UndefinedFunction() | errors.UndefinedColumn() | errors.InvalidSchemaName():
            raise SchemaOutdated(f"the database does not fit this release, run `slaq migrate`: {error}") from error
        case errors.CheckViolation() | errors.ProgramLimitExceeded() | psycopg.DataError() | UnicodeEncodeError():
            raise InvalidTicket(f"the database refused a value: {error}") from error
        case _:
            raise error


# nothing in it is looked up through the caller's search_path
_RIGHTS: LiteralString = (
    "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user"
)


def _is_new(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    """Whether this login of this database is used for the first time in this process."""
    login = (conn.info.host, conn.info.dbname, conn.info.user)
    is_new = login not in _vetted
    _vetted.add(login)
    return is_new


def _warn_of_rights(conn: Connection[Any] | AsyncConnection[Any], row: Row | None) -> None:
    if row and row[0]:
        _log.warning(
            "the login %r is a superuser or bypasses row-level security, so nothing keeps tenants apart for it; "
            "connect as an ordinary role (slaq migrate --grant-to ROLE)",
            conn.info.user,
        )
