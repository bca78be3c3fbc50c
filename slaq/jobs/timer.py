"""The polling timer: asks an index what is due, and settles each ticket in a transaction of its own.

Level-triggered: a pass takes all that is due, so a missed one loses nothing. A short lease shares the
due tickets among workers; the write is fenced on the version that was read, so a ticket that changed
meanwhile is simply read again. A ticket that fails is put off and stops no other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from slaq.clock import Reading
from slaq.jobs.loops import sleep
from slaq.services.crossing import settlement_document
from slaq.store.queries import query
from slaq.store.tickets import make_room, missing_promises, promise_of, state_of
from slaq.timeline import settle

_log = logging.getLogger("slaq.timer")

BATCH = 100
LEASE = timedelta(seconds=10)
LONGEST_WAIT = 30.0

_Key: TypeAlias = tuple[str, str]
"""A tenant and one of its promises."""


@attrs.define
class Pass:
    """What one pass did."""

    leased: int = 0
    settled: int = 0
    told: int = 0
    locked: int = 0
    stale: int = 0
    failed: int = 0
    rescued: int = 0
    """Tickets of Temporal's that were overdue and told by the poller."""


@attrs.define
class Timer:
    """The poller of one worker process, over a pool of autocommit connections."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    schema: str
    concurrency: int = 4
    interval: float = 1.0
    grace: timedelta = timedelta(seconds=60)
    name: str = "polling"
    rescues: int = attrs.field(default=0, init=False)
    """How many overdue tickets of Temporal's this process has told, since it began."""

    async def sweep(self) -> Pass:
        """Settle all that is due now."""
        total = Pass()
        while True:
            one = await self.run_pass()
            for field in attrs.fields(Pass):
                setattr(total, field.name, getattr(total, field.name) + getattr(one, field.name))
            if one.leased < BATCH:
                return total

    async def run_pass(self, clock: Reading | None = None) -> Pass:
        """Lease up to a hundred due tickets and settle each."""
        async with self.pool.connection() as conn:
            clock = clock or await self._clock(conn)
            now = clock.database_now
            rows = await self._all(conn, "lease_due", limit=BATCH, now=now, lease=LEASE, grace=self.grace)
            documents = [json.loads(row[0]) for row in rows]
            bodies = await self._fetch_promises(conn, documents)
        work = _Work(iter(documents), bodies, clock, Pass(leased=len(documents)))
        async with asyncio.TaskGroup() as drains:
            for _ in range(min(self.concurrency, len(documents))):
                drains.create_task(self._drain(work))
        return work.done

    async def run(self, stop: asyncio.Event) -> None:
        """Look again whenever the next alarm is due, at the latest after ``interval`` seconds, until ``stop`` is set."""
        blocked = 0
        while not stop.is_set():
            async with self.pool.connection() as conn:
                clock = await self._clock(conn)
            if (await self.run_pass(clock)).leased:
                blocked = 0
                continue
            wait, is_blocked = await self._until_next(clock)
            blocked = blocked + 1 if is_blocked else 0
            longest = self.interval * 2 ** min(blocked - 1, 10) if blocked else self.interval
            await sleep(min(wait, longest, LONGEST_WAIT), stop)

    async def _until_next(self, clock: Reading) -> tuple[float, bool]:
        """Seconds until the next alarm, and whether one was due at the last look although that found none.

        Such an alarm is locked: who holds the lock settles it.
        """
        async with self.pool.connection() as conn:
            is_due, wake_at = (await self._all(conn, "next_wake", now=clock.database_now))[0]
        wait = LONGEST_WAIT if wake_at is None else (wake_at - clock.now).total_seconds()
        return max(wait, 0.0), bool(is_due)

    async def _drain(self, work: _Work) -> None:
        async with self.pool.connection() as conn:
            for document in work.documents:
                await self._settle(conn, document, work)

    async def _settle(self, conn: AsyncConnection[Any], document: Mapping[str, Any], work: _Work) -> None:
        tenant, ticket_id, version = document["tenant"], document["ticket_id"], document["version"]
        done, now = work.done, work.clock.now
        try:
            change, told = self._change(document, work.bodies, now)
            rows = await self._all(
                conn, "settle_ticket", file="tickets", tenant=tenant, ticket=ticket_id, version=version, change=change
            )
        except Exception as error:
            if conn.closed or conn.broken:
                raise
            done.failed += 1
            _log.exception("ticket %s of tenant %s could not be settled and is put off", ticket_id, tenant)
            await self._all(
                conn, "postpone", tenant=tenant, ticket=ticket_id, version=version, now=now, error=repr(error)
            )
            return
        outcome = rows[0][0]
        setattr(done, outcome, getattr(done, outcome) + 1)
        if outcome == "settled":
            done.told += told
            if told and document["backend"] == "temporal":
                done.rescued += 1
                self.rescues += 1
                _log.warning(
                    "ticket %s of tenant %s is Temporal's, but was overdue: told by the poller", ticket_id, tenant
                )

    def _change(self, document: Mapping[str, Any], bodies: Mapping[_Key, Any], now: datetime) -> tuple[str, int]:
        tenant, ticket_id = document["tenant"], document["ticket_id"]
        for promise_id in missing_promises(tenant, document):
            promise_of(tenant, promise_id, bodies[tenant, promise_id])
        state = state_of(tenant, ticket_id, document)
        settlement = settle(state.facts, state.records, now)
        return settlement_document(state, settlement, now, self.name), len(settlement.told)

    async def _fetch_promises(self, conn: AsyncConnection[Any], documents: list[dict[str, Any]]) -> dict[_Key, Any]:
        """The promises that these tickets are under and this process has not parsed yet.

        They are parsed with the ticket, so that one that cannot be fails its own tickets alone.
        """
        make_room()
        wanted = {
            (document["tenant"], promise_id)
            for document in documents
            for promise_id in missing_promises(document["tenant"], document)
        }
        if not wanted:
            return {}
        rows = await self._all(conn, "promise_bodies", wanted=json.dumps(sorted(wanted)))
        return {(tenant, promise_id): body for tenant, promise_id, body in json.loads(rows[0][0])}

    async def _clock(self, conn: AsyncConnection[Any]) -> Reading:
        return Reading((await self._all(conn, "now"))[0][0])

    async def _all(self, conn: AsyncConnection[Any], name: str, *, file: str = "timer", **parameters: Any) -> list[Any]:
        async with AsyncCursor(conn, row_factory=tuple_row) as cursor:
            await cursor.execute(query(file, name, self.schema), parameters)
            return await cursor.fetchall()


@attrs.frozen
class _Work:
    """The tickets of a pass, shared by the connections that settle them."""

    documents: Iterator[dict[str, Any]]
    bodies: Mapping[_Key, Any]
    clock: Reading
    done: Pass
