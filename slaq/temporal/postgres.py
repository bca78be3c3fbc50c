"""The statements of the Temporal worker, over a pool of autocommit connections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from slaq.store.queries import query
from slaq.store.tickets import make_room, missing_promises, promise_of

Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[Any]]


async def fetch(
    conn: AsyncConnection[Any], schema: str, name: str, *, file: str = "temporal", **parameters: Any
) -> list[tuple[Any, ...]]:
    """The rows of a named statement."""
    async with AsyncCursor(conn, row_factory=tuple_row) as cursor:
        await cursor.execute(query(file, name, schema), parameters)
        return await cursor.fetchall()


async def database_now(conn: AsyncConnection[Any], schema: str) -> datetime:
    now: datetime = (await fetch(conn, schema, "now", file="timer"))[0][0]
    return now


async def fetch_promises(conn: AsyncConnection[Any], schema: str, documents: Sequence[dict[str, Any]]) -> None:
    """Get the promises that these tickets are under and this process has not parsed yet."""
    make_room()
    wanted = {(d["tenant"], promise_id) for d in documents for promise_id in missing_promises(d["tenant"], d)}
    if wanted:
        rows = await fetch(conn, schema, "promise_bodies", file="timer", wanted=json.dumps(sorted(wanted)))
        for tenant, promise_id, body in json.loads(rows[0][0]):
            promise_of(tenant, promise_id, body)
