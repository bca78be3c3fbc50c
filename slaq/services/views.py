"""What operators look at: a ticket's page, and lists of tickets that need attention."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString

import attrs

from slaq.errors import UnknownTicket
from slaq.status import SlaStatus, status_of
from slaq.store.database import Statement, Steps
from slaq.store.queries import query
from slaq.store.tickets import read_ticket
from slaq.timeline import Clocks, fold


class Listing(StrEnum):
    """Which tickets are listed; membership agrees with their status at the same instant."""

    OPEN = "open"
    AT_RISK = "at_risk"
    BREACHED = "breached"
    PAUSED = "paused"


@attrs.frozen
class TicketPage:
    """Everything recorded about one ticket, and how it stands."""

    status: SlaStatus
    document: dict[str, Any]


@attrs.frozen
class ListedTicket:
    """One line of a list."""

    ticket_number: str
    title: str
    status: SlaStatus


def ticket_page(tenant: str, ticket_id: str, schema: str, at: datetime | None = None) -> Steps[TicketPage]:
    """The page of one ticket, its status now or at another instant; raises ``UnknownTicket``."""
    status, _ = yield from _status(tenant, ticket_id, schema, at)
    rows = yield Statement(query("views", "ticket_page", schema), {"tenant": tenant, "ticket": ticket_id})
    return TicketPage(status, json.loads(rows[0][0]))


def ticket_clocks(tenant: str, ticket_id: str, schema: str) -> Steps[tuple[Clocks | None, datetime]]:
    """The clocks of one ticket and the database's time; raises ``UnknownTicket``."""
    state, now = yield from read_ticket(tenant, ticket_id, schema)
    if state.row is None:
        raise UnknownTicket(f"tenant {tenant!r} has no ticket {ticket_id!r}")
    return fold(state.facts, now), now


def list_tickets(tenant: str, listing: Listing, limit: int, schema: str) -> Steps[list[ListedTicket]]:
    """Up to ``limit`` tickets of a list, the most urgent first."""
    yield Statement(query("tickets", "set_tenant", schema), {"tenant": tenant})
    rows = yield Statement(query("timer", "now", schema), {})
    now: datetime = rows[0][0]
    statement: LiteralString = query("views", f"tickets_{listing.value}", schema)
    rows = yield Statement(statement, {"tenant": tenant, "limit": limit, "now": now})
    listed = []
    for (ticket_id,) in rows:
        status, row = yield from _status(tenant, ticket_id, schema)
        listed.append(ListedTicket(row["ticket_number"], row["title"], status))
    return listed


def _status(
    tenant: str, ticket_id: str, schema: str, at: datetime | None = None
) -> Steps[tuple[SlaStatus, dict[str, Any]]]:
    state, now = yield from read_ticket(tenant, ticket_id, schema)
    if state.row is None:
        raise UnknownTicket(f"tenant {tenant!r} has no ticket {ticket_id!r}")
    moment = at or now
    clocks = fold(state.facts, moment)
    return status_of(ticket_id, clocks, state.records, moment, state.backend), dict(state.row)
