"""At any hour of any day the demo has enough to show, and nearly all of it is left to the timers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.demo.run import demo_schedules
from slaq.demo.tickets import STORIES, TICKETS, Desk, is_polled, opening, steps
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.store.database import Steps, run
from slaq.store.tenancy import run_with_tenant
from slaq.store.tickets import read_ticket
from slaq.timeline import expected

CONTENT = files("slaq.demo").joinpath("desk.toml").read_text("utf-8")
ORDINARY = [datetime(2026, 11, 25, hour, 17, tzinfo=UTC) for hour in range(0, 24, 3)]
SPECIAL = [
    datetime(2026, 1, 1, 9, 17, tzinfo=UTC),  # a holiday everywhere
    datetime(2026, 10, 3, 9, 17, tzinfo=UTC),  # a holiday in Berlin
    datetime(2026, 11, 22, 11, 15, tzinfo=UTC),  # a Sunday, and every office at lunch or closed
    datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC),  # clocks go back in Berlin
]


@pytest.fixture(scope="module")
def desk(server) -> Any:
    """A connection to a database with the demo's desk."""
    name = "demo_opening"
    server.create_database(name, template="template_slaq")
    with psycopg.connect(server.conninfo(name)) as conn, run_with_tenant("demo"):
        apply(conn, Configuration.parse(CONTENT))
        conn.commit()
        yield conn
    server.drop_database(name)


@pytest.mark.parametrize("seconds", [12, 60])
@pytest.mark.parametrize("now", [*ORDINARY, *SPECIAL], ids=str)
def test_nearly_everything_is_crossed_while_it_runs(desk: Connection[Any], now: datetime, seconds: float) -> None:
    with desk.transaction(force_rollback=True):
        due, before = live(desk, now, seconds)
    assert all(count >= 5 for count in due.values()), "of either timer's tickets"
    assert sum(due.values()) >= 20
    assert before <= sum(due.values()) / 5, "what was due before is told by the application's own call"


def live(conn: Connection[Any], now: datetime, seconds: float) -> tuple[dict[bool, int], int]:
    """A whole shift without timers: crossings expected by whether the ticket is polled, and those before it began."""
    clock = FixedClock(now)
    desk = Desk(SyncSlaService(clock=clock), conn, opening(now, demo_schedules(), seconds))
    for ticket in desk.tickets.values():
        desk.service.sync_ticket(conn, ticket)
    for step in steps():
        clock.now = now + timedelta(seconds=step.share * seconds)
        step.act(desk)
    due, before = {False: 0, True: 0}, 0
    for number, ticket in desk.tickets.items():
        wanted = run(conn, expected_of(ticket.ticket_id, now + timedelta(seconds=seconds)))
        due[is_polled(number)] += len(wanted)
        before += sum(record.crossing.crossed_at <= now for record in wanted)
    return due, before


def expected_of(ticket_id: str, until: datetime) -> Steps[Any]:
    state, _ = yield from read_ticket("demo", ticket_id, "slaq")
    return expected(state.facts, until)


def test_each_story_is_told_by_either_timer() -> None:
    now = ORDINARY[0]
    tickets = opening(now, demo_schedules(), 60)
    assert len(tickets) == TICKETS == 2 * len(STORIES)
    for number in range(1, TICKETS, 2):
        one, other = tickets[number], tickets[number + 1]
        assert (is_polled(number), is_polled(number + 1)) == (False, True)
        assert (one.board_id, one.priority_id, one.entered_at) == (other.board_id, other.priority_id, other.entered_at)


def test_the_tickets_of_a_later_shift_are_others() -> None:
    first, second = (opening(ORDINARY[0], demo_schedules(), 60, shift) for shift in (0, 1))
    assert not {ticket.ticket_id for ticket in first.values()} & {ticket.ticket_id for ticket in second.values()}


def test_the_script_shows_every_kind_of_change() -> None:
    told = " ".join(step.what for step in steps())
    for wanted in ("answered", "waits for the client", "on hold", "by hand", "becomes critical", "becomes low",
                   "resolved", "reopened", "assigned"):  # fmt: skip
        assert wanted in told
    assert [step.share for step in steps()] == sorted(step.share for step in steps())
