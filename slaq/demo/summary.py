"""What came of it: the rows that were written against what must have been told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import quantiles
from typing import Any

import attrs
from psycopg import Connection

from slaq.services.views import TicketPage, ticket_page
from slaq.store.database import Statement, Steps, run
from slaq.store.queries import query
from slaq.store.tickets import instant, read_ticket
from slaq.timeline import Record, expected

TELLERS = ("temporal", "polling", "rescue", "application")
"""Who tells; a rescue is the poller's telling of a ticket that is Temporal's."""

_Key = tuple[str, str, int, datetime, bool]


@attrs.frozen(kw_only=True)
class Latency:
    """Milliseconds between the moment a crossing could be told and the moment it was claimed; none without any."""

    p50: float | None
    p99: float | None


@attrs.frozen(kw_only=True)
class Tally:
    """Crossings expected, recorded and delivered; those missed, and those told twice."""

    tickets: int
    expected: int
    delivered: int
    missed: int
    duplicates: int
    lateness_ms: Latency


@attrs.frozen(kw_only=True)
class Teller:
    """What one timer told, or the application's own calls."""

    crossings: int
    lateness_ms: Latency


@attrs.define
class _Count:
    tickets: int = 0
    expected: int = 0
    missed: int = 0
    duplicates: int = 0
    lateness: list[float] = attrs.field(factory=list)
    told: list[tuple[str, float]] = attrs.field(factory=list)

    def tally(self) -> Tally:
        return Tally(
            tickets=self.tickets,
            expected=self.expected,
            delivered=self.expected - self.missed,
            missed=self.missed,
            duplicates=self.duplicates,
            lateness_ms=_latency(self.lateness),
        )


def summarise(
    conn: Connection[Any], schema: str, tenant: str, ticket_ids: Sequence[str], until: datetime
) -> dict[str, Any]:
    """The summary over these tickets of all that was to be told by ``until``."""
    counts = {"polling": _Count(), "temporal": _Count()}
    for ticket_id in ticket_ids:
        page, wanted = run(conn, _read(tenant, ticket_id, schema, until))
        _add(counts[page.status.backend], page, wanted, until)
    total = _Count()
    for count in counts.values():
        for field in attrs.fields(_Count):
            setattr(total, field.name, getattr(total, field.name) + getattr(count, field.name))
    summary: dict[str, Any] = attrs.asdict(total.tally())
    summary["backends"] = {name: attrs.asdict(count.tally()) for name, count in counts.items()}
    summary["told_by"] = {name: attrs.asdict(_teller(name, total.told)) for name in TELLERS}
    return summary


def _read(tenant: str, ticket_id: str, schema: str, until: datetime) -> Steps[tuple[TicketPage, tuple[Record, ...]]]:
    yield Statement(query("tickets", "set_tenant", schema), {"tenant": tenant})
    state, _ = yield from read_ticket(tenant, ticket_id, schema)
    page = yield from ticket_page(tenant, ticket_id, schema)
    return page, expected(state.facts, until)


def _add(count: _Count, page: TicketPage, wanted: Sequence[Record], until: datetime) -> None:
    rows = [row for row in page.document["crossings"] if instant(row["crossed_at"]) <= until]
    must = Counter(_wanted(record) for record in wanted)
    done = Counter(_recorded(row) for row in rows)
    unsent = {d["crossing_id"] for d in page.document["deliveries"] if d["status"] in ("pending", "dead")}
    shown = Counter((n["crossing_id"], n["user_id"]) for n in page.document["notifications"])
    count.tickets += 1
    count.expected += must.total()
    count.missed += (must - done).total() + sum(1 for row in rows if row["crossing_id"] in unsent)
    count.duplicates += (done - must).total() + sum(times - 1 for times in shown.values())
    count.lateness += [_lateness(row) for row in rows if row["claimed_by"] != "application"]
    count.told += [(_teller_of(row, page.status.backend), _lateness(row)) for row in rows]


def _teller_of(row: dict[str, Any], backend: str) -> str:
    by: str = row["claimed_by"]
    return "rescue" if (by, backend) == ("polling", "temporal") else by


def _teller(name: str, told: Sequence[tuple[str, float]]) -> Teller:
    lateness = [late for by, late in told if by == name]
    return Teller(crossings=len(lateness), lateness_ms=_latency(lateness))


def _wanted(record: Record) -> _Key:
    crossing = record.crossing
    return crossing.phase.value, crossing.kind.value, crossing.percent, crossing.crossed_at, record.is_voided


def _recorded(row: dict[str, Any]) -> _Key:
    return row["phase"], row["kind"], row["percent"], instant(row["crossed_at"]), row["voided_at"] is not None


def _lateness(row: dict[str, Any]) -> float:
    possible = max(instant(row["crossed_at"]), instant(row["armed_at"]))
    return (instant(row["noticed_at"]) - possible).total_seconds() * 1000


def _latency(values: list[float]) -> Latency:
    if len(values) < 2:
        return Latency(p50=values[0] if values else None, p99=values[0] if values else None)
    cuts = quantiles(values, n=100, method="inclusive")
    return Latency(p50=round(cuts[49], 1), p99=round(cuts[98], 1))
