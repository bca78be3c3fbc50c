"""The course of the demo: database, desk, timers, a shift of a minute (or one after the other), and the summary."""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from importlib.resources import files
from itertools import count
from time import sleep
from typing import Any

import attrs
import psycopg
from psycopg import Connection
from rich.console import Console
from rich.live import Live

from slaq.backends.select import SlaBackendFactory
from slaq.clock import Reading, monotonic
from slaq.config import Settings
from slaq.configuration import Configuration
from slaq.demo.board import Board
from slaq.demo.summary import summarise
from slaq.demo.tickets import BOARDS, Desk, is_polled, opening, steps
from slaq.demo.timers import Timers, timers
from slaq.hours import Entry, Holiday, Schedule
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.store.database import Statement, Steps, run
from slaq.store.migrate import grant, migrate
from slaq.store.queries import query
from slaq.store.tenancy import run_with_tenant

TENANT = "demo"
SHIFT = 60.0
"""Seconds of a shift when the demo goes on for ever."""
LOOK = 0.25
"""Seconds between two looks at the database."""
SETTLING = 3.0
"""Seconds that the timers have for what was due in the last moment, and during which nothing may be told twice."""
PATIENCE = 20.0
"""Seconds after which what is not told counts as missed."""


@attrs.frozen(kw_only=True)
class Course:
    """How the demo runs: where, how long, and how it shows itself."""

    app_conninfo: str
    admin_conninfo: str
    grant_to: str | None
    settings: Settings
    seconds: float | None
    console: Console
    is_live: bool


def run_demo(course: Course) -> dict[str, Any]:
    """Run it until its time is over or it is interrupted, and return the summary."""
    schema = course.settings.schema
    with psycopg.connect(course.admin_conninfo, autocommit=True) as admin:
        migrate(admin, schema)
        if course.grant_to:
            grant(admin, schema, course.grant_to, to_worker=True)
    with run_with_tenant(TENANT):
        with psycopg.connect(course.app_conninfo) as conn:
            apply(conn, Configuration.parse(_desk()), schema=schema)
        course.console.print("starting the timers ...")
        with timers(course.app_conninfo, course.settings) as running:
            if running.temporal is not None:
                course.console.print(
                    f"Temporal on {running.temporal.address}, its web UI: {_ui(running)}", markup=False
                )
            ticket_ids = _live(course, running)
            return _settled(course, ticket_ids)


def demo_schedules() -> dict[str, Schedule]:
    """The schedule of each board as the desk's file has it, and the one that never closes."""
    desk = tomllib.loads(_desk())["tenants"][TENANT]
    opened = {board: _schedule(desk["schedules"][board], desk["holidays"]) for board in BOARDS}
    return {**opened, "around the clock": Schedule("UTC", (), is_24x7=True)}


def _desk() -> str:
    return files("slaq.demo").joinpath("desk.toml").read_text("utf-8")


def _schedule(table: dict[str, Any], shared: list[str]) -> Schedule:
    spans = [span.split("-") for span in table["hours"]["mon-sun"]]
    entries = tuple(Entry(day, start, end) for day in range(7) for start, end in spans)
    yearly = (line.split(" ", 1) for line in (*shared, *table["holidays"]))
    return Schedule(table["timezone"], entries, tuple(Holiday(f"2024-{day}", True, name) for day, name in yearly))


def _live(course: Course, running: Timers) -> list[str]:
    """Show one shift, or shift after shift, until the end or an interrupt; the ids of the tickets that came in."""
    schema = course.settings.schema
    service = SyncSlaService(SlaBackendFactory(course.settings).get_backend(), schema=schema)
    ticket_ids: list[str] = []
    with (
        suppress(KeyboardInterrupt),
        Live(console=course.console, auto_refresh=False) if course.is_live else nullcontext() as live,
        psycopg.connect(course.app_conninfo) as conn,
    ):
        board = Board(service, schema, TENANT, course.console, live)
        for number in range(1) if course.seconds is not None else count():
            opened = _now(conn, schema)
            tickets = opening(opened.database_now, demo_schedules(), course.seconds or SHIFT, number)
            desk = Desk(service, conn, tickets)
            board.titles = {ticket.ticket_id: ticket.title for ticket in tickets.values()}
            _open(desk, schema, ticket_ids)
            _work(course, running, desk, board, opened)
            if course.seconds is None:
                board.say("* the shift ends: what is open is resolved, and new tickets come in")
                _close(desk)
    return ticket_ids


def _open(desk: Desk, schema: str, ticket_ids: list[str]) -> None:
    """Put the tickets in, each in a transaction of the host application."""
    poller = SyncSlaService(schema=schema)
    for number, ticket in desk.tickets.items():
        with desk.conn.transaction():
            (poller if is_polled(number) else desk.service).sync_ticket(desk.conn, ticket, actor="demo")
        ticket_ids.append(ticket.ticket_id)


def _close(desk: Desk) -> None:
    for number in desk.tickets:
        with desk.conn.transaction():
            desk.save(number, status_id="closed")


def _work(course: Course, running: Timers, desk: Desk, board: Board, opened: Reading) -> None:
    """Let the script happen until the shift is over, and show the board meanwhile."""
    length = course.seconds or SHIFT
    script = _script(running, desk, length)
    while (elapsed := (opened.now - opened.database_now).total_seconds()) < length:
        running.check()
        while script and script[0][0] <= elapsed:
            _, event, act = script.pop(0)
            with desk.conn.transaction():
                act()
            board.say(event)
        left = "for ever" if course.seconds is None else f"{length - elapsed:.0f} s left"
        board.refresh(desk.conn, f"slaq demo: {left}, Ctrl-C stops it{_state(running)}")
        sleep(LOOK)


def _script(running: Timers, desk: Desk, length: float) -> list[tuple[float, str, Callable[[], None]]]:
    """What happens at which second, in order: to the tickets, and midway to Temporal."""
    script: list[tuple[float, str, Callable[[], None]]] = [
        (step.share * length, f"* {desk.tickets[step.number].ticket_id} {step.what}", partial(step.act, desk))
        for step in steps()
    ]
    if running.temporal is not None:
        down = 0.45 * length
        outage = min(10.0, length / 6)
        script += [
            (down, "* Temporal is stopped: the poller steps in", partial(running.temporal.stop, signal.SIGKILL)),
            (down + outage, "* Temporal is started again", running.temporal.launch),
        ]
    return sorted(script, key=lambda happening: happening[0])


def _state(running: Timers) -> str:
    if running.temporal is None:
        return ""
    return f"; Temporal is {'up' if running.temporal.is_up() else 'DOWN'}: {_ui(running)}"


def _ui(running: Timers) -> str:
    return "" if running.temporal is None else f"http://127.0.0.1:{running.temporal.ui_port}"


def _settled(course: Course, ticket_ids: list[str]) -> dict[str, Any]:
    """The summary of what was due by now, once all of it is told or nobody can hope for it any more."""
    with psycopg.connect(course.app_conninfo) as conn:
        until = _now(conn, course.settings.schema).database_now
        started = monotonic()
        sleep(SETTLING)
        while True:
            with conn.transaction():
                summary = summarise(conn, course.settings.schema, TENANT, ticket_ids, until)
            if not summary["missed"] or monotonic() - started > PATIENCE:
                return summary
            sleep(LOOK)


def _now(conn: Connection[Any], schema: str) -> Reading:
    with conn.transaction():
        return run(conn, _database_time(schema))


def _database_time(schema: str) -> Steps[Reading]:
    rows = yield Statement(query("timer", "now", schema), {})
    return Reading(rows[0][0])
