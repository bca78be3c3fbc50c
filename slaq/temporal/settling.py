"""One crossing of a ticket under its lock, through the same code as the poller's.

The ticket is locked, read, settled and written in one transaction. Whoever comes second finds nothing left to do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs
from psycopg import AsyncConnection

from slaq.services.crossing import settlement_document
from slaq.store.tickets import TicketState, instant, state_of
from slaq.temporal.messages import Snapshot, TicketRef
from slaq.temporal.postgres import Pool, fetch, fetch_promises
from slaq.temporal.snapshots import snapshot_of, words
from slaq.timeline import Record, Settlement, settle

EARLY = timedelta(seconds=2)
"""A crossing up to this far ahead of the database's clock is waited for: clocks differ, and a new timer costs more."""

_GONE = Snapshot(version=sys.maxsize, is_over=True, reason="gone")
"""How a ticket stands that is not there (any more): newer than whatever was known of it."""

ReadClock: TypeAlias = Callable[[datetime], Awaitable[datetime]]
"""Says what time it is, given the database's; tests that skip time hand in another."""

Wanted: TypeAlias = Callable[[Record], bool]


@attrs.frozen
class Settled:
    """What became of a ticket: how it stands, and what this settling told."""

    snapshot: Snapshot
    told: tuple[str, ...] = ()


async def database_time(database_now: datetime) -> datetime:
    """The database's own time."""
    return database_now


@attrs.frozen
class Settler:
    """Settles tickets on behalf of their workflows."""

    pool: Pool
    schema: str
    read_clock: ReadClock = database_time

    async def settle(self, ticket: TicketRef, wanted: Wanted | None = None) -> Settled:
        """Cross what is due (of the ``wanted`` records only) and say how the ticket stands then."""
        while True:
            async with self.pool.connection() as conn, conn.transaction():
                outcome = await self._settle_held(conn, ticket, wanted)
            if isinstance(outcome, Settled):
                return outcome
            await asyncio.sleep(outcome.total_seconds())  # without the lock

    async def note(self, ticket: TicketRef, event_type: str, data: dict[str, object]) -> bool:
        """Write an audit entry unless it is there; whether it was written."""
        async with self.pool.connection() as conn, conn.transaction():
            held = await self._hold(conn, ticket)
            if held is None:
                return False
            rows = await fetch(
                conn, self.schema, "audit_once",
                tenant=ticket.tenant, ticket=ticket.ticket_id, type=event_type, data=json.dumps(data), now=held[1],
            )  # fmt: skip
            return bool(rows[0][0])

    async def _hold(self, conn: AsyncConnection[Any], ticket: TicketRef) -> tuple[TicketState, datetime] | None:
        """Lock the ticket and read it, and the time once the lock is held."""
        rows = await fetch(conn, self.schema, "hold_ticket", tenant=ticket.tenant, ticket=ticket.ticket_id)
        if rows[0][0] is None:
            return None
        document = json.loads(rows[0][0])
        await fetch_promises(conn, self.schema, [{**document, "tenant": ticket.tenant}])
        return state_of(ticket.tenant, ticket.ticket_id, document), await self.read_clock(instant(document["now"]))

    async def _settle_held(
        self, conn: AsyncConnection[Any], ticket: TicketRef, wanted: Wanted | None
    ) -> Settled | timedelta:
        held = await self._hold(conn, ticket)
        if held is None:
            return Settled(_GONE)
        state, now = held
        if state.due_at is not None and now < state.due_at <= now + EARLY:
            return state.due_at - now
        settlement = settle(state.facts, state.records, now)
        if wanted is not None:
            settlement = _only(settlement, wanted)
        version = state.version
        if settlement.told or settlement.voided or settlement.revived or settlement.alarm != state.due_at:
            change = settlement_document(state, settlement, now, "temporal")
            await fetch(
                conn, self.schema, "settle_ticket", file="tickets",
                tenant=ticket.tenant, ticket=ticket.ticket_id, version=version, change=change,
            )  # fmt: skip
            version += 1
        after = attrs.evolve(state, version=version)
        snapshot = snapshot_of(after, settlement.clocks, settlement.records, settlement.alarm, now)
        return Settled(snapshot, tuple(words(record) for record in settlement.told))


def _only(settlement: Settlement, wanted: Wanted) -> Settlement:
    """The part of a settlement that is wanted; the alarm stays at the earliest crossing that is not."""
    left = [record for record in settlement.told if not wanted(record)]
    ahead = [record.crossing.crossed_at for record in left]
    if settlement.alarm is not None:
        ahead.append(settlement.alarm)
    return attrs.evolve(
        settlement,
        records=tuple(record for record in settlement.records if record not in left),
        told=tuple(record for record in settlement.told if wanted(record)),
        alarm=min(ahead, default=None),
    )
