"""A ticket as its clocks need it, out of the document that the database writes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Channel, Escalation, Kind, Phase, Promise, Threshold
from slaq.store.database import Statement, Steps
from slaq.store.queries import query
from slaq.timeline import Crossing, Record

AROUND_THE_CLOCK = Schedule("UTC", (), is_24x7=True)
_CACHED_PROMISES = 4096
_CONTENT = 32
"""A promise's id begins with this many characters of its content's hash; what follows tells copies apart."""

_promises: list[dict[tuple[str, str], Promise]] = [{}, {}]
"""Parsed promises by tenant and content: the newest, and those that go next."""


@attrs.frozen
class Rules:
    """What the tenant's configuration says today about a ticket with its fields."""

    content: str
    body: Mapping[str, Any]
    promise: Promise
    is_closed: bool | None
    pauses: bool
    pauses_awaiting_client: bool


@attrs.frozen
class TicketState:
    """A ticket as it is stored: its columns (``None`` when unknown), facts and recorded crossings.

    ``content`` is the promise that it is under, ``None`` before its start.
    """

    tenant: str
    ticket_id: str
    version: int
    backend: str
    row: Mapping[str, Any] | None
    facts: tuple[Fact, ...]
    content: str | None
    records: tuple[Record, ...]
    due_at: datetime | None


def open_ticket(
    tenant: str, ticket_id: str, fields: Mapping[str, Any], schema: str
) -> Steps[tuple[TicketState, Rules, datetime]]:
    """Lock a ticket, then read it and the rules for it with ``fields`` laid over what is stored.

    The third result is the database's time once the lock is held.
    """
    document, now = yield from lock_ticket(tenant, ticket_id, fields, schema)
    rules = document["rules"]
    promise_of(tenant, rules["content"], rules["promise"])
    yield from _fetch_promises(tenant, document, schema)
    return (
        state_of(tenant, ticket_id, document),
        Rules(
            content=rules["content"],
            body=rules["promise"],
            promise=promise_of(tenant, rules["content"], rules["promise"]),
            is_closed=rules["is_closed"],
            pauses=bool(rules["pauses"]),
            pauses_awaiting_client=rules["pause_on_awaiting_client"],
        ),
        now,
    )


def lock_ticket(tenant: str, ticket_id: str, fields: Mapping[str, Any], schema: str) -> Steps[tuple[Mapping[str, Any], datetime]]:
    """Lock a ticket and get its raw document, with the database's time once the lock is held."""
    rows = yield Statement(
        query("tickets", "open_ticket", schema),
        {"tenant": tenant, "ticket": ticket_id, "fields": json.dumps(fields, default=encoded)},
    )
    document = json.loads(rows[0][0])
    return document, instant(document["now"])


def read_ticket(tenant: str, ticket_id: str, schema: str) -> Steps[tuple[TicketState, datetime]]:
    """Read a ticket without locking it, and the database's time."""
    rows = yield Statement(query("tickets", "read_ticket", schema), {"tenant": tenant, "ticket": ticket_id})
    document = json.loads(rows[0][0])
    yield from _fetch_promises(tenant, document, schema)
    return state_of(tenant, ticket_id, document), instant(document["now"])


def _fetch_promises(tenant: str, document: Mapping[str, Any], schema: str) -> Steps[None]:
    make_room()
    missing = missing_promises(tenant, document)
    if missing:
        rows = yield Statement(query("tickets", "promise_bodies", schema), {"tenant": tenant, "ids": missing})
        for promise_id, body in json.loads(rows[0][0]).items():
            promise_of(tenant, promise_id, body)


def make_room() -> None:
    """Forget old promises when many are parsed; the newest stay, because others may be about to use them."""
    if len(_promises[0]) >= _CACHED_PROMISES:
        _promises[:] = {}, _promises[0]


def _parsed(tenant: str, promise_id: str) -> Promise | None:
    key = tenant, promise_id[:_CONTENT]
    return next((promises[key] for promises in tuple(_promises) if key in promises), None)


def missing_promises(tenant: str, document: Mapping[str, Any]) -> list[str]:
    """The promises that a document names and this process has not parsed yet."""
    named = {fact[4] for fact in document["facts"] if fact[4] is not None}
    return [promise_id for promise_id in named if _parsed(tenant, promise_id) is None]


def state_of(tenant: str, ticket_id: str, document: Mapping[str, Any]) -> TicketState:
    """The state that a document holds; its promises must have been fetched."""
    facts = document["facts"]
    due_at = document["due_at"]
    return TicketState(
        tenant=tenant,
        ticket_id=ticket_id,
        version=document["version"],
        backend=document["backend"] or "polling",
        row=document["ticket"],
        facts=tuple(_fact(tenant, *fact) for fact in facts),
        content=next((fact[4][:_CONTENT] for fact in reversed(facts) if fact[4] is not None), None),
        records=tuple(_record(*crossing) for crossing in document["crossings"]),
        due_at=None if due_at is None else instant(due_at),
    )


def _fact(
    tenant: str, kind: str, at: str, known_at: str, source: str | None, promise_id: str | None, change: int
) -> Fact:
    return Fact(
        FactKind(kind),
        instant(at),
        instant(known_at),
        None if source is None else PauseSource(source),
        None if promise_id is None else _parsed(tenant, promise_id),
        change,
    )


def _record(
    row: str, phase: str, kind: str, percent: int, level: int | None, crossed_at: str, is_voided: bool, is_silent: bool
) -> Record:
    crossing = Crossing(Phase(phase), Kind(kind), percent, instant(crossed_at), level)
    return Record(crossing, is_voided=is_voided, row=row, is_silent=is_silent)


def promise_of(tenant: str, promise_id: str, body: Mapping[str, Any]) -> Promise:
    """The promise that a stored body describes; parsed once in a process."""
    known = _parsed(tenant, promise_id)
    if known is None:
        known = _promises[0][tenant, promise_id[:_CONTENT]] = _parse_promise(body)
    return known


def _parse_promise(body: Mapping[str, Any]) -> Promise:
    if not body:
        return Promise(AROUND_THE_CLOCK)
    return Promise(
        schedule=parse_schedule(body["schedule"]),
        response=_minutes(body["response_minutes"]),
        resolution=_minutes(body["resolution_minutes"]),
        thresholds=tuple(
            attrs.evolve(Threshold(**threshold), channels=tuple(Channel(c) for c in threshold["channels"]))
            for threshold in body["thresholds"]
        ),
        escalations=tuple(Escalation(level, percent) for level, percent in body["escalations"]),
        policy_id=body["policy_id"],
    )


def parse_schedule(body: Mapping[str, Any] | None) -> Schedule:
    """The schedule that a promise's body describes; none is around the clock."""
    if body is None:
        return AROUND_THE_CLOCK
    return Schedule(
        body["timezone"],
        tuple(Entry(day, start, end) for day, start, end in body["entries"]),
        tuple(Holiday(day, is_recurring, name) for day, is_recurring, name in body["holidays"]),
    )


def _minutes(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(minutes=value)


def instant(text: str) -> datetime:
    """A stored instant, whatever time zone the session wrote it in."""
    return datetime.fromisoformat(text).astimezone(UTC)


def encoded(value: object) -> str:
    """How instants and enums are written into JSON."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
