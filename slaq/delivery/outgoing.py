"""The way of one delivery: load it, build its mail, send that with no transaction open, mark what became of it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool

from slaq.clock import Clock, DatabaseClock
from slaq.config import Settings
from slaq.delivery.email import Delivery, build
from slaq.delivery.transport import Transport
from slaq.errors import DeliveryRefused, InputError, UnknownReference
from slaq.store.database import Statement, Steps, run, run_async
from slaq.store.queries import DEFAULT_SCHEMA, query
from slaq.store.tenancy import current_tenant
from slaq.store.tickets import AROUND_THE_CLOCK, make_room, promise_of

_log = logging.getLogger("slaq.delivery")

_FIRST_WAIT = 30.0
_LONGEST_WAIT = 7200.0
_LONGEST_ERROR = 500


class Outcome(StrEnum):
    """What became of a delivery when it was worked on."""

    SENT = "sent"
    DEAD = "dead"
    """Refused for good, or failed as often as it may; listed, and sent again only when somebody asks."""
    DROPPED = "dropped"
    """Nobody is to be told any more."""
    SETTLED = "settled"
    """It was sent, dead or dropped before; nothing was done."""


@attrs.frozen
class DeliveryRecord:
    """A delivery as it is listed."""

    delivery_id: UUID
    ticket_id: str
    ticket_number: str
    user_id: str
    address: str | None
    template: str
    phase: str
    percent: int
    status: str
    attempts: int
    last_error: str | None
    created_at: datetime
    settled_at: datetime | None


def retry_in(attempt: int, jitter: float = 0.0) -> timedelta:
    """How long to wait after the ``attempt``-th failure (from 0): half a minute, tripling, at most two hours; wall-clock.

    ``jitter``, from 0 to 1, makes the wait up to a quarter longer.
    """
    wait = min(_FIRST_WAIT * 3.0 ** min(attempt, 20), _LONGEST_WAIT)
    return timedelta(seconds=wait * (1 + jitter / 4))


async def deliver(
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    transport: Transport,
    settings: Settings,
    *,
    tenant: str,
    ticket_id: str,
    delivery_id: str,
    attempt: int = 0,
    clock: Clock | None = None,
) -> Outcome:
    """Send one delivery; ``attempt`` is how often its job has been tried before (from 0).

    A refusal for good, and the last of ``settings.mail_attempts`` failures, make it dead. Any other
    failure is raised, ``DeliveryFailed`` when it is the transport's, for the queue to try the job again.
    """
    steps = _Steps(tenant, settings.schema, clock or DatabaseClock())

    async def in_transaction(marking: Steps[Any]) -> Any:
        async with pool.connection() as conn, conn.transaction():
            return await run_async(conn, marking)

    delivery, now = await in_transaction(steps.prepare(ticket_id, delivery_id))
    if not isinstance(delivery, Delivery):
        return delivery
    # a job that was interrupted was tried more often than its delivery
    is_last = max(attempt, delivery.attempts) + 1 >= settings.mail_attempts
    try:
        mail = build(delivery, settings.mail_from, now)
        await asyncio.to_thread(transport.send, mail)
    except Exception as error:  # whatever it is: the last try must not leave the row pending
        is_dead = is_last or isinstance(error, DeliveryRefused)
        await in_transaction(steps.mark(delivery_id, "dead" if is_dead else "failed", str(error) or repr(error)))
        _log.log(
            logging.ERROR if is_dead else logging.WARNING,
            "delivery %s of ticket %s is %s: %s",
            delivery_id,
            ticket_id,
            "dead" if is_dead else "tried again later",
            error,
        )
        if is_dead:
            return Outcome.DEAD
        raise
    await in_transaction(steps.mark(delivery_id, "sent"))
    return Outcome.SENT


def list_deliveries(
    conn: Connection[Any], *, status: str | None = None, limit: int = 100, schema: str = DEFAULT_SCHEMA
) -> list[DeliveryRecord]:
    """The current tenant's latest deliveries, newest first.

    ``status`` is ``pending``, ``sent``, ``dead`` or ``dropped``; ``None`` lists all.
    """
    return run(conn, _of_tenant(schema).list(status, limit))


async def list_deliveries_async(
    conn: AsyncConnection[Any], *, status: str | None = None, limit: int = 100, schema: str = DEFAULT_SCHEMA
) -> list[DeliveryRecord]:
    """See ``list_deliveries``."""
    return await run_async(conn, _of_tenant(schema).list(status, limit))


def resend(
    conn: Connection[Any],
    delivery_id: str | UUID | None = None,
    *,
    actor: str | None = None,
    schema: str = DEFAULT_SCHEMA,
) -> int:
    """Have a delivery sent again that is dead, dropped or waits for its next try; without an id, all dead ones.

    The tries are counted anew, under the same Message-ID. Returns how many there are. Raises
    ``UnknownReference`` when the current tenant has no such delivery, or it was sent.
    """
    return run(conn, _of_tenant(schema).resend(delivery_id, actor))


async def resend_async(
    conn: AsyncConnection[Any],
    delivery_id: str | UUID | None = None,
    *,
    actor: str | None = None,
    schema: str = DEFAULT_SCHEMA,
) -> int:
    """See ``resend``."""
    return await run_async(conn, _of_tenant(schema).resend(delivery_id, actor))


def _of_tenant(schema: str) -> _Steps:
    return _Steps(current_tenant(), schema, DatabaseClock())


@attrs.frozen
class _Steps:
    """What deliveries do in the database; each verb is one transaction's worth."""

    tenant: str
    schema: str
    clock: Clock

    def prepare(self, ticket_id: str, delivery_id: str) -> Steps[tuple[Delivery | Outcome, datetime]]:
        """A delivery that is to be sent, and the instant; else what became of it, which is settled here."""
        now = yield from self._begin()
        delivery = yield from self._load(delivery_id)
        if delivery is None:
            yield self._statement("note_gone", ticket=ticket_id, delivery=delivery_id, now=now, error=_GONE)
            return Outcome.DROPPED, now
        if delivery.status != "pending":
            return Outcome.SETTLED, now
        useless = _VOIDED if delivery.is_voided else None if delivery.is_active else _INACTIVE
        if useless is not None:
            yield self._marking(delivery_id, "dropped", useless, now)
            return Outcome.DROPPED, now
        return delivery, now

    def mark(self, delivery_id: str, result: str, error: str | None = None) -> Steps[None]:
        """Write down a try: ``sent``, ``failed`` (and still pending) or ``dead``."""
        now = yield from self._begin()
        yield self._marking(delivery_id, result, error, now)

    def list(self, status: str | None, limit: int) -> Steps[list[DeliveryRecord]]:
        if status not in _STATUSES:
            raise InputError(f"status {status!r} is none of {', '.join(filter(None, _STATUSES))}")
        yield from self._begin()
        rows = yield self._statement("list", status=status, limit=limit)
        return [DeliveryRecord(*row) for row in rows]

    def resend(self, delivery_id: str | UUID | None, actor: str | None) -> Steps[int]:
        now = yield from self._begin()
        chosen = None if delivery_id is None else _parsed(delivery_id)
        rows = yield self._statement("resend", delivery=chosen, actor=actor, now=now)
        count: int = rows[0][0]
        if chosen is not None and count == 0:
            raise UnknownReference(f"delivery {delivery_id} does not exist in tenant {self.tenant!r}, or was sent")
        return count

    def _begin(self) -> Steps[datetime]:
        rows = yield self._statement("begin")
        return self.clock.read(rows[0][1])

    def _load(self, delivery_id: str) -> Steps[Delivery | None]:
        rows = yield self._statement("load", delivery=delivery_id)
        if not rows:
            return None
        *columns, promise_id, body = rows[0]
        make_room()
        schedule = AROUND_THE_CLOCK if promise_id is None else promise_of(self.tenant, promise_id, body).schedule
        return Delivery(self.tenant, UUID(delivery_id), schedule, *columns)

    def _marking(self, delivery_id: str, result: str, error: str | None, now: datetime) -> Statement:
        return self._statement(
            "mark",
            delivery=delivery_id,
            status="pending" if result == "failed" else result,
            event=f"email_{result}",
            tries=0 if result == "dropped" else 1,
            error=None if error is None else error[:_LONGEST_ERROR],
            now=now,
        )

    def _statement(self, name: str, **parameters: Any) -> Statement:
        return Statement(query("delivery", name, self.schema), {"tenant": self.tenant, **parameters})


_GONE = "the ticket or the recipient was deleted"
_VOIDED = "the crossing was voided"
_INACTIVE = "the recipient was deactivated"
_STATUSES = ("pending", "sent", "dead", "dropped", None)


def _parsed(delivery_id: str | UUID) -> UUID:
    try:
        return UUID(str(delivery_id))
    except ValueError as error:
        raise UnknownReference(f"{delivery_id!r} is not the id of a delivery") from error
