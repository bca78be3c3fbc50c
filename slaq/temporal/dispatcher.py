"""The way out of the outbox: rows are leased in batches, sent a few at a time, and deleted once they have arrived.

No lock is held over a call. A crash between sending and acknowledging sends again, which the version makes harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from slaq.clock import Reading
from slaq.jobs.loops import backoff
from slaq.temporal.client import is_unreachable
from slaq.temporal.postgres import Pool, database_now, fetch, fetch_promises
from slaq.temporal.sending import send
from slaq.temporal.snapshots import outgoing

_log = logging.getLogger("slaq.temporal")

BATCH = 100
LEASE = timedelta(seconds=30)
LONGEST_BACKOFF = 60.0
_NEVER = frozenset({RPCStatusCode.INVALID_ARGUMENT})
_WAIT = 0.25


@attrs.define
class Dispatcher:
    """Drains the outbox into Temporal."""

    pool: Pool
    schema: str
    client: Client
    queue: str
    concurrency: int = 16

    async def run(self, stop: asyncio.Event, is_up: Callable[[], bool]) -> None:
        """Drain until ``stop`` is set, as long as Temporal ``is_up``; otherwise the outbox waits."""
        while not stop.is_set():
            if is_up() and await self.drain_once() == BATCH:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _WAIT)

    async def drain_once(self) -> int:
        """Send one batch; how many rows it had."""
        async with self.pool.connection() as conn:
            clock = Reading(await database_now(conn, self.schema))
            leased = await fetch(conn, self.schema, "lease_outbox", limit=BATCH, now=clock.now, lease=LEASE)
            documents = [json.loads(row[0]) for row in leased]
            await fetch_promises(conn, self.schema, documents)
        if not documents:
            return 0
        sent = await self._send_all(documents, clock)
        if sent:
            async with self.pool.connection() as conn:
                await fetch(conn, self.schema, "acknowledge_outbox", sent=json.dumps(sent), now=clock.now)
        return len(documents)

    async def _send_all(self, documents: Sequence[dict[str, Any]], clock: Reading) -> list[tuple[str, str, int, bool]]:
        queue = iter(documents)
        sent: list[tuple[str, str, int, bool]] = []

        async def drain() -> None:
            for document in queue:
                if await self._send_one(document, clock):
                    is_end = document["is_end"]
                    sent.append((document["tenant"], document["ticket_id"], document["sent_version"], is_end))

        async with asyncio.TaskGroup() as drains:
            for _ in range(min(self.concurrency, len(documents))):
                drains.create_task(drain())
        return sent

    async def _send_one(self, document: dict[str, Any], clock: Reading) -> bool:
        """Send one row; false when it is put off or given to the poller. One row's failure stops no other."""
        try:
            row = outgoing(document, clock.now)
            document["is_end"] = row.snapshot.is_over
            await send(self.client, self.queue, row)
        except Exception as error:
            await self._put_off(document, error, clock)
            return False
        return True

    async def _put_off(self, document: dict[str, Any], error: Exception, clock: Reading) -> None:
        tenant, ticket_id = document["tenant"], document["ticket_id"]
        async with self.pool.connection() as conn:
            if isinstance(error, RPCError) and error.status in _NEVER:
                _log.error(
                    "ticket %s of tenant %s is polled from now on, Temporal refused it: %s", ticket_id, tenant, error
                )
                await fetch(conn, self.schema, "disown_ticket", tenant=tenant, ticket=ticket_id)
                return
            wait = backoff(document["attempts"], first=1.0, most=LONGEST_BACKOFF)
            level = logging.INFO if is_unreachable(error) else logging.WARNING
            _log.log(level, "ticket %s of tenant %s is told later, in %s: %r", ticket_id, tenant, wait, error)
            await fetch(
                conn, self.schema, "postpone_outbox",
                tenant=tenant, ticket=ticket_id, now=clock.now, wait=wait, error=repr(error),
            )  # fmt: skip
