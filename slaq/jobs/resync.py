"""Bringing the open tickets of a tenant in line with its configuration, a batch at a time.

Each ticket has its own transaction, so that none is held longer than its own change takes. A batch is a
job that ends by enqueuing the next one: a worker that dies repeats its batch, which changes nothing
twice. A ticket that fails is tried again by a job of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.errors import UnknownTicket
from slaq.services.verbs import Verbs
from slaq.store.database import Statement, Steps, run_async
from slaq.store.queries import query

T = TypeVar("T")

_log = logging.getLogger("slaq.resync")

RESYNC = "sla-resync"
BATCH = 100


async def resync(
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    verbs: Verbs,
    schema: str,
    tenant: str,
    after: str = "",
    tickets: Sequence[str] | None = None,
) -> int:
    """Realign up to a hundred open tickets after ``after`` (or just ``tickets``); how many were looked at."""
    async with pool.connection() as conn:
        listed = list(tickets) if tickets is not None else await _in_transaction(conn, _listed(tenant, after, schema))
        failed = []
        for ticket_id in listed:
            try:
                await _in_transaction(conn, verbs.realign(tenant, ticket_id, {}, None, "slaq"))
            except UnknownTicket:
                continue  # deleted since it was listed
            except Exception:
                if conn.closed or conn.broken or len(listed) == 1:
                    raise
                _log.exception(
                    "ticket %s of tenant %s could not be realigned and gets a job of its own", ticket_id, tenant
                )
                failed.append(ticket_id)
        follow_up: list[dict[str, Any]] = [{"tickets": [ticket_id]} for ticket_id in failed]
        if tickets is None and len(listed) == BATCH:
            follow_up.append({"after": listed[-1]})
        if follow_up:
            jobs = [{"queue": RESYNC, "data": {"tenant": tenant, **part}} for part in follow_up]
            await _in_transaction(conn, _enqueue(jobs, schema))
    return len(listed)


async def _in_transaction(conn: AsyncConnection[Any], steps: Steps[T]) -> T:
    async with conn.transaction():
        return await run_async(conn, steps)


def _listed(tenant: str, after: str, schema: str) -> Steps[list[str]]:
    yield Statement(query("tickets", "set_tenant", schema), {"tenant": tenant})
    rows = yield Statement(
        query("tickets", "open_tickets_after", schema), {"tenant": tenant, "after": after, "limit": BATCH}
    )
    return [row[0] for row in rows]


def _enqueue(jobs: list[dict[str, Any]], schema: str) -> Steps[None]:
    statement: LiteralString = query("tickets", "enqueue", schema)
    yield Statement(statement, {"jobs": json.dumps(jobs)})
