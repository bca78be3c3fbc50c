"""One verb, one statement: what it asks of Postgres, and how its answer is read.

A call joins the transaction of the connection it is given. Inside one it runs in a savepoint, so that
a refused call leaves the transaction usable; on an autocommit connection it is a transaction itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Generic, NoReturn, TypeVar

import attrs
import psycopg
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor, errors
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from slaq.errors import ConcurrentChange, SchemaOutdated, TransactionRequired
from slaq.jobs.model import InvalidJob, UnknownQueue
from slaq.store.database import Row
from slaq.store.queries import query

T = TypeVar("T")


@attrs.frozen
class Call(Generic[T]):
    """A statement of ``sql/queries/jobs.sql`` with its parameters, and the reader of its rows."""

    name: str
    parameters: Mapping[str, Any]
    read: Callable[[list[Row]], T]


def run_call(conn: Connection[Any], call: Call[T], schema: str) -> T:
    """Run ``call`` on a sync connection; see the module."""
    if conn.info.transaction_status == TransactionStatus.ACTIVE:
        with conn.lock:  # another thread is using it, and only then it shows whether there is a transaction
            pass
    nested = _is_nested(conn)
    with Cursor(conn, row_factory=tuple_row) as cursor:
        if nested:
            cursor.execute(query("jobs", "savepoint", schema))
        try:
            rows = cursor.execute(query("jobs", call.name, schema), call.parameters).fetchall()
        except psycopg.Error as error:
            if nested and not conn.closed and not conn.broken:
                cursor.execute(query("jobs", "rollback", schema))
                cursor.execute(query("jobs", "release", schema))
            _explain(error)
        if nested:
            cursor.execute(query("jobs", "release", schema))
    return call.read(rows)


async def run_call_async(conn: AsyncConnection[Any], call: Call[T], schema: str) -> T:
    """Run ``call`` on an async connection; see the module."""
    if conn.info.transaction_status == TransactionStatus.ACTIVE:
        async with conn.lock:  # another task is using it, and only then it shows whether there is a transaction
            pass
    nested = _is_nested(conn)
    async with AsyncCursor(conn, row_factory=tuple_row) as cursor:
        if nested:
            await cursor.execute(query("jobs", "savepoint", schema))
        try:
            await cursor.execute(query("jobs", call.name, schema), call.parameters)
            rows = await cursor.fetchall()
        except psycopg.Error as error:
            if nested and not conn.closed and not conn.broken:
                await cursor.execute(query("jobs", "rollback", schema))
                await cursor.execute(query("jobs", "release", schema))
            _explain(error)
        if nested:
            await cursor.execute(query("jobs", "release", schema))
    return call.read(rows)


async def run_together(conn: AsyncConnection[Any], calls: Sequence[Call[Any]], schema: str) -> list[Any]:
    """Run several calls in one round trip and, on an autocommit connection, in one transaction: all or none."""
    try:
        async with conn.pipeline():
            cursors = [AsyncCursor(conn, row_factory=tuple_row) for _ in calls]
            for cursor, call in zip(cursors, calls, strict=True):
                await cursor.execute(query("jobs", call.name, schema), call.parameters)
            return [call.read(await cursor.fetchall()) for cursor, call in zip(cursors, calls, strict=True)]
    except psycopg.Error as error:
        _explain(error)


def _is_nested(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    status = conn.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise TransactionRequired("the connection's transaction has failed: roll it back before calling slaq")
    return not (status == TransactionStatus.IDLE and conn.autocommit)


def _explain(error: psycopg.Error) -> NoReturn:
    """Raise ``error`` as what it means to the caller."""
    if error.sqlstate == "SQ404":
        raise UnknownQueue(_unknown(error)) from None
    if error.sqlstate == "SQ400":
        raise InvalidJob(str(error.diag.message_primary)) from None
    match error:
        case errors.SerializationFailure() | errors.DeadlockDetected():
            raise ConcurrentChange(f"another transaction got in the way; run this one again: {error}") from error
        case (
            errors.UndefinedTable() | errors.UndefinedFunction() | errors.UndefinedColumn() | errors.InvalidSchemaName()
        ):
            raise SchemaOutdated(f"the database does not fit this release, run `slaq migrate`: {error}") from error
        case errors.CheckViolation() | psycopg.DataError():
            raise InvalidJob(f"the database refused a value: {error}") from error
        case _:
            raise error


def _unknown(error: psycopg.Error) -> str:
    message = str(error.diag.message_primary)
    wanted = message.split('"')[1]
    names: list[str] = json.loads(error.diag.message_detail or "[]")
    near = get_close_matches(wanted, names, 3, 0.5)
    if near:
        return f"{message}: did you mean {' or '.join(repr(name) for name in near)}?"
    return (
        f"{message}; there are {', '.join(map(repr, names[:10]))}" if names else f"{message}: no queue was created yet"
    )


def scalar(rows: list[Row]) -> Any:
    """The reader of an answer that is one value."""
    return rows[0][0]


def nothing(rows: list[Row]) -> None:  # noqa: ARG001 - a reader like the others
    """The reader of an answer that says nothing."""
    return
