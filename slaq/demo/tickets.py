"""The tickets of the demo: two dozen, some well under way, and what happens to them in the minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs
from psycopg import Connection

from slaq.hours import Schedule
from slaq.services.service import SyncSlaService
from slaq.services.ticket import Ticket

BOARDS = ("berlin", "los-angeles", "tokyo")
CRITICAL = timedelta(minutes=1)

_TITLES = (
    "Printer on fire", "Mail does not leave", "VPN drops every hour", "Invoice is wrong", "Laptop will not wake",
    "Badge reader is dead", "Disk almost full", "Cannot log in", "Phone rings on Mars", "Report is empty",
    "Backup failed twice", "Site is slow", "Wrong currency", "Camera upside down", "Certificate expires tonight",
    "Robot stuck in lift", "Coffee machine offline", "Missing commas", "Clock runs backwards", "Cable chewed by cat",
    "Order lost", "Monitor flickers", "Password in the log", "Fan sounds like a jet",
)  # fmt: skip

Act: TypeAlias = Callable[[SyncSlaService, Connection[Any], "Desk"], None]


@attrs.define
class Desk:
    """The host application's own idea of its tickets."""

    tickets: dict[str, Ticket]

    def save(self, service: SyncSlaService, conn: Connection[Any], ticket_id: str, **changes: Any) -> None:
        """Save a ticket as an application does: its own change, then one call."""
        self.tickets[ticket_id] = attrs.evolve(self.tickets[ticket_id], **changes)
        service.sync_ticket(conn, self.tickets[ticket_id], actor="demo")


@attrs.frozen
class Step:
    """Something that happens to a ticket, a share of the demo's length after its start."""

    share: float
    ticket_id: str
    what: str
    act: Act


def opening(now: datetime, schedules: dict[str, Schedule], seconds: float) -> list[Ticket]:
    """Two dozen tickets as they are when the demo starts, half of them with thresholds due within it.

    The targets that count around the clock are one minute (critical) and ten (high); for the others
    the time of entry is chosen so that the next threshold lies a few business seconds ahead, if the
    office is open.
    """
    tickets = []
    ahead = iter(timedelta(seconds=seconds * share / 100) for share in range(6, 90, 4))
    for number, title in enumerate(_TITLES, start=1):
        board = BOARDS[number % len(BOARDS)]
        priority = ("critical", "high", "normal", "low")[number % 4]
        if priority == "critical":
            entered = now
        elif priority == "high":
            entered = now - timedelta(minutes=(5, 7, 7.5, 9, 10)[number % 5]) + next(ahead)
        else:
            target = timedelta(hours=1 if priority == "normal" else 4)
            used = target * (50, 75, 90, 100)[number % 4 if number % 5 else 3] / 100
            entered = entered_for(schedules[board], now, used - next(ahead))
        tickets.append(
            Ticket(
                ticket_id=f"T-{number:02}",
                title=title,
                board_id=board,
                client_id=("globex", "initech")[number % 2],
                priority_id=priority,
                status_id="new",
                assigned_to=None if number == 7 else ("ada", "grace", "linus", "mary")[number % 4],
                entered_at=entered,
            )
        )
    return tickets


def entered_for(schedule: Schedule, now: datetime, used: timedelta) -> datetime:
    """The latest entry by which ``used`` business time has passed at ``now``."""
    early, late = now - timedelta(days=30), now
    while late - early > timedelta(milliseconds=1):
        middle = early + (late - early) / 2
        if schedule.elapsed(middle, now) >= used:
            early = middle
        else:
            late = middle
    return early


def steps() -> list[Step]:
    """What happens: pauses, answers, a priority change, a resolution and a reopening, a deletion."""

    def save(ticket_id: str, **changes: Any) -> Act:
        return lambda service, conn, desk: desk.save(service, conn, ticket_id, **changes)

    def answer(ticket_id: str) -> Act:
        return lambda service, conn, _: _ignore(service.record_first_response(conn, ticket_id, actor="demo"))

    def hold(ticket_id: str, *, resume: bool) -> Act:
        return lambda service, conn, _: _ignore((service.resume_sla if resume else service.pause_sla)(conn, ticket_id))

    return [
        Step(0.10, "T-04", "answered", answer("T-04")),
        Step(0.15, "T-08", "waits for the client", save("T-08", response_state="awaiting_client")),
        Step(0.20, "T-12", "put on hold", save("T-12", status_id="hold")),
        Step(0.25, "T-02", "low priority becomes critical", save("T-02", priority_id="critical")),
        Step(0.30, "T-05", "answered", answer("T-05")),
        Step(0.35, "T-16", "resolved", save("T-16", status_id="closed")),
        Step(0.40, "T-08", "the client replied", save("T-08", response_state="awaiting_internal")),
        Step(0.45, "T-12", "taken off hold", save("T-12", status_id="new")),
        Step(0.50, "T-20", "held by hand", hold("T-20", resume=False)),
        Step(0.55, "T-16", "reopened", save("T-16", status_id="new")),
        Step(0.60, "T-09", "answered and resolved", save("T-09", status_id="closed")),
        Step(0.65, "T-20", "let go again", hold("T-20", resume=True)),
        Step(0.70, "T-24", "critical becomes low", save("T-24", priority_id="low")),
        Step(0.80, "T-11", "assigned to Ada", save("T-11", assigned_to="ada")),
    ]


def _ignore(_: object) -> None:
    """The status that a verb returns is shown by the board."""
