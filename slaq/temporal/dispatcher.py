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
from typing import Any, TypeAlias

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
_AHEAD = 1
"""Batches that are leased while another one is sent."""

_Sent: TypeAlias = tuple[str, str, int, bool]
"""Tenant, ticket, the version that was sent, and whether that was the end."""


@attrs.define
class Dispatcher:
    """Drains the outbox into Temporal."""

    pool: Pool
    schema: str
    client: Client
    queue: str
    concurrency: int = 16
    """Calls at a time."""
    _calls: asyncio.Semaphore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._calls = asyncio.Semaphore(self.concurrency)

    async def run(self, stop: asyncio.Event, is_up: Callable[[], bool]) -> None:
        """Drain until ``stop`` is set, as long as Temporal ``is_up``; otherwise the outbox waits."""
        while not stop.is_set():
            await self.drain(lambda: is_up() and not stop.is_set())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _WAIT)

    async def drain(self, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Send all that may be sent, as long as it ``may_go_on``; how many rows that was.

        While a batch is sent the next one is leased already, so that Temporal need not wait for it.
        """
        count, ahead = 0, asyncio.Semaphore(_AHEAD)

        async def send(batch: _Batch) -> None:
            await self._send_all(batch)
            ahead.release()

        async with asyncio.TaskGroup() as group:
            while may_go_on():
                batch = await self._lease()
                count += len(batch.documents)
                group.create_task(send(batch))
                if len(batch.documents) < BATCH:
                    break
                await ahead.acquire()
        return count

    async def drain_once(self) -> int:
        """Send one batch; how many rows it had."""
        batch = await self._lease()
        await self._send_all(batch)
        return len(batch.documents)

    async def _lease(self) -> _Batch:
        async with self.pool.connection() as conn:
            clock = Reading(await database_now(conn, self.schema))
            leased = await fetch(conn, self.schema, "lease_outbox", limit=BATCH, now=clock.now, lease=LEASE)
            documents = [json.loads(row[0]) for row in leased]
            await fetch_promises(conn, self.schema, documents)
        return _Batch(documents, clock)

    async def _send_all(self, batch: _Batch) -> None:
        """Send a batch and acknowledge what has arrived."""
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(self._send_one(document, batch.clock)) for document in batch.documents]
        if sent := [row for call in calls if (row := call.result()) is not None]:
            async with self.pool.connection() as conn:
                await fetch(conn, self.schema, "acknowledge_outbox", sent=json.dumps(sent), now=batch.clock.now)

    async def _send_one(self, document: dict[str, Any], clock: Reading) -> _Sent | None:
        """Send one row; nothing when it is put off or given to the poller. One row's failure stops no other."""
        async with self._calls:
            try:
                row = outgoing(document, clock.now)
                await send(self.client, self.queue, row)
            except Exception as error:
                await self._put_off(document, error, clock)
                return None
        return row.tenant, row.ticket_id, row.sent_version, row.snapshot.is_over

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


@attrs.frozen
class _Batch:
    """Leased rows, and the time."""

    documents: Sequence[dict[str, Any]]
    clock: Reading
