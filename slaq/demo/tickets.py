"""The tickets of the demo: twelve stories, each told twice, once by either timer; and what happens to them meanwhile."""

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
TARGETS = {
    "critical": timedelta(minutes=1), "high": timedelta(minutes=10), "normal": timedelta(hours=1), "low": timedelta(hours=4),
}  # fmt: skip
"""Of the response; critical and high count around the clock."""

_TITLES = (
    "Printer on fire", "Mail does not leave", "VPN drops every hour", "Invoice is wrong", "Laptop will not wake",
    "Badge reader is dead", "Disk almost full", "Cannot log in", "Phone rings on Mars", "Report is empty",
    "Backup failed twice", "Site is slow", "Wrong currency", "Camera upside down", "Certificate expires tonight",
    "Robot stuck in lift", "Coffee machine offline", "Missing commas", "Clock runs backwards", "Cable chewed by cat",
    "Order lost", "Monitor flickers", "Password in the log", "Fan sounds like a jet",
)  # fmt: skip


@attrs.frozen
class Story:
    """A ticket that has used nearly ``percent`` of its response target when it comes in: it is there after ``share`` of the demo.

    Boards differ in what they tell first, so nearly everything lies ahead: Berlin at 50 %, Los Angeles at 75 %, Tokyo at 90 %.
    """

    board: str
    priority: str
    percent: int
    share: float


STORIES = (
    Story("berlin", "critical", 50, 0.10),
    Story("los-angeles", "critical", 75, 0.10),
    Story("tokyo", "critical", 90, 0.15),
    Story("berlin", "high", 50, 0.30),
    Story("los-angeles", "high", 75, 0.50),
    Story("tokyo", "high", 90, 0.70),
    Story("tokyo", "high", 100, 0.48),  # with a history: at 90 % somebody should have been told
    Story("berlin", "normal", 50, 0.20),
    Story("los-angeles", "normal", 75, 0.48),
    Story("tokyo", "normal", 90, 0.55),
    Story("berlin", "low", 0, 0.00),
    Story("los-angeles", "low", 75, 0.35),
)
TICKETS = 2 * len(STORIES)


def is_polled(number: int) -> bool:
    """Whether a ticket is the poller's: the second of each pair, while the first is Temporal's if there is one."""
    return number % 2 == 0


def opening(now: datetime, schedules: dict[str, Schedule], seconds: float, shift: int = 0) -> dict[int, Ticket]:
    """The tickets by number, as they are when a shift of so many seconds begins.

    What counts in office hours crosses nothing within it unless the office is open.
    """
    tickets: dict[int, Ticket] = {}
    for number in range(1, TICKETS + 1):
        story = STORIES[(number - 1) // 2]
        used = TARGETS[story.priority] * story.percent / 100 - timedelta(seconds=seconds * story.share)
        around_the_clock = story.priority in ("critical", "high")
        schedule = schedules["around the clock" if around_the_clock else story.board]
        tickets[number] = Ticket(
            ticket_id=f"T-{shift * TICKETS + number:02}",
            title=_TITLES[number - 1],
            board_id=story.board,
            client_id=("globex", "initech")[number % 2],
            priority_id=story.priority,
            status_id="new",
            assigned_to=None if number == 10 else ("ada", "grace", "linus", "mary")[number % 4],
            entered_at=entered_for(schedule, now, used),
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


@attrs.define
class Desk:
    """The host application: its tickets by number, and how it saves them."""

    service: SyncSlaService
    conn: Connection[Any]
    tickets: dict[int, Ticket]

    def save(self, number: int, **changes: Any) -> None:
        """Save a ticket as an application does: its own change, then one call."""
        self.tickets[number] = attrs.evolve(self.tickets[number], **changes)
        self.service.sync_ticket(self.conn, self.tickets[number], actor="demo")

    def answer(self, number: int) -> None:
        self.service.record_first_response(self.conn, self.tickets[number].ticket_id, actor="demo")

    def hold(self, number: int) -> None:
        self.service.pause_sla(self.conn, self.tickets[number].ticket_id)

    def let_go(self, number: int) -> None:
        self.service.resume_sla(self.conn, self.tickets[number].ticket_id)


Act: TypeAlias = Callable[[Desk], None]


@attrs.frozen
class Step:
    """Something that happens to a ticket, a share of the shift's length after its beginning."""

    share: float
    number: int
    what: str
    act: Act


def steps() -> list[Step]:
    """What happens: pauses, answers, priority changes, resolutions and a reopening; some of it while Temporal is down."""

    def save(number: int, **changes: Any) -> Act:
        return lambda desk: desk.save(number, **changes)

    return [
        Step(0.12, 7, "answered", lambda desk: desk.answer(7)),
        Step(0.18, 3, "waits for the client", save(3, response_state="awaiting_client")),
        Step(0.20, 12, "put on hold", save(12, status_id="hold")),
        Step(0.24, 21, "low priority becomes critical", save(21, priority_id="critical")),
        Step(0.25, 22, "low priority becomes critical", save(22, priority_id="critical")),
        Step(0.30, 16, "resolved", save(16, status_id="closed")),
        Step(0.38, 3, "the client replied", save(3, response_state="awaiting_internal")),
        Step(0.40, 12, "taken off hold", save(12, status_id="new")),
        Step(0.50, 23, "held by hand", lambda desk: desk.hold(23)),
        Step(0.55, 16, "reopened", save(16, status_id="new")),
        Step(0.58, 20, "answered and resolved", save(20, status_id="closed")),
        Step(0.65, 23, "let go again", lambda desk: desk.let_go(23)),
        Step(0.70, 6, "critical becomes low", save(6, priority_id="low")),
        Step(0.80, 10, "assigned to Ada", save(10, assigned_to="ada")),
    ]
