"""The course of the demo: database, desk, tickets, worker, a minute of life, and the summary."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
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
from slaq.demo.processes import Outage, slaq_process
from slaq.demo.summary import summarise
from slaq.demo.temporal import TemporalServer
from slaq.demo.tickets import BOARDS, Desk, Step, opening, steps
from slaq.errors import SlaqError
from slaq.hours import Entry, Holiday, Schedule
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.store.database import Statement, Steps, run
from slaq.store.migrate import grant, migrate
from slaq.store.queries import query
from slaq.store.tenancy import run_with_tenant

TENANT = "demo"
SETTLING = timedelta(seconds=3)
CONNECTING = 60.0  # seconds: the first start on a machine reads two servers from a cold disk


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
    """Run it and return the summary."""
    schema = course.settings.schema
    with psycopg.connect(course.admin_conninfo, autocommit=True) as admin:
        migrate(admin, schema)
        if course.grant_to:
            grant(admin, schema, course.grant_to, to_worker=True)
    with psycopg.connect(course.app_conninfo) as conn, run_with_tenant(TENANT):
        with conn.transaction():
            apply(conn, Configuration.parse(_desk()), schema=schema)
        service = SyncSlaService(SlaBackendFactory(course.settings).get_backend(), schema=schema)
        with _timers(course, conn) as outage:
            desk = _open_desk(course, service, conn)
            _live(course, service, conn, desk, outage)
            until = _now(conn, schema)
            sleep(SETTLING.total_seconds())
        with conn.transaction():
            summary = summarise(conn, schema, TENANT, sorted(desk.tickets), until)
            return {**summary, "told_by": run(conn, _told_by(schema))}


def _open_desk(course: Course, service: SyncSlaService, conn: Connection[Any]) -> Desk:
    """Put the tickets in, each in a transaction of the host application."""
    tickets = opening(_now(conn, course.settings.schema), demo_schedules(), course.seconds or 60)
    desk = Desk({ticket.ticket_id: ticket for ticket in tickets})
    poller = SyncSlaService(schema=course.settings.schema)
    for number, ticket in enumerate(tickets, start=1):
        with conn.transaction():
            (poller if number // 4 % 2 else service).sync_ticket(conn, ticket, actor="demo")  # half of each kind
    return desk


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


def _live(course: Course, service: SyncSlaService, conn: Connection[Any], desk: Desk, outage: Outage | None) -> None:
    """Let the script happen, and show the board meanwhile."""
    board = Board(service, course.settings.schema, TENANT, {t.ticket_id: t.title for t in desk.tickets.values()})
    started, length = monotonic(), course.seconds or 60
    script = steps()
    with Live(console=course.console, auto_refresh=False, transient=False) if course.is_live else _quiet() as live:
        while course.seconds is None or monotonic() - started < length:
            elapsed = monotonic() - started
            while script and script[0].share * length <= elapsed:
                _happen(course, script.pop(0), service, conn, desk, board)
            if outage is not None and (news := outage.take_place(elapsed, length)):
                _show(course, board, news)
            for message in board.refresh(conn):
                if live is None:
                    course.console.print(f"{message.at:%H:%M:%S}  {message.text}", markup=False)
            if live is not None:
                left = "" if course.seconds is None else f", {max(length - elapsed, 0):.0f} s left"
                told = _told_words(conn, course.settings.schema)
                note = f"slaq demo: {len(desk.tickets)} tickets{left}; {told}; Ctrl-C stops it"
                live.update(board.render(note), refresh=True)
            sleep(0.5)


def _happen(
    course: Course, step: Step, service: SyncSlaService, conn: Connection[Any], desk: Desk, board: Board
) -> None:
    with conn.transaction():
        step.act(service, conn, desk)
    _show(course, board, f"* {step.ticket_id} {step.what}")


def _show(course: Course, board: Board, event: str) -> None:
    board.events.append(event)
    if not course.is_live:
        course.console.print(board.events[-1], markup=False)


@contextmanager
def _quiet() -> Generator[None, None, None]:
    yield None


def _now(conn: Connection[Any], schema: str) -> datetime:
    with conn.transaction():
        return run(conn, _database_time(schema)).now


def _database_time(schema: str) -> Steps[Reading]:
    rows = yield Statement(query("timer", "now", schema), {})
    return Reading(rows[0][0])


def _told_words(conn: Connection[Any], schema: str) -> str:
    with conn.transaction():
        told = run(conn, _told_by(schema))
    return "told by " + ", ".join(f"{by} {count}" for by, count in told.items()) if told else "nothing told yet"


def _told_by(schema: str) -> Steps[dict[str, int]]:
    """How many crossings each timer has claimed, and the application's own calls."""
    yield Statement(query("tickets", "set_tenant", schema), {"tenant": TENANT})
    rows = yield Statement(query("temporal", "told_by", schema), {"tenant": TENANT})
    return {row[0]: row[1] for row in rows}


@contextmanager
def _timers(course: Course, conn: Connection[Any]) -> Generator[Outage | None, None, None]:
    """The workers of the edition, and for Enterprise a Temporal server whose outage is yet to come."""
    if course.settings.edition == "community":
        with slaq_process("worker", environment(course)):
            yield None
        return
    with (
        TemporaryDirectory(prefix="slaq-temporal-") as directory,
        TemporalServer(Path(directory) / "temporal.db", with_ui=True) as server,
    ):
        course.console.print(
            f"Temporal on {server.address}, its web UI on http://127.0.0.1:{server.ui_port}", markup=False
        )
        surroundings = {**environment(course), "TEMPORAL_ADDRESS": server.address, "SLAQ_GRACE": "2"}
        with slaq_process("worker", surroundings), slaq_process("temporal-worker", surroundings):
            _wait_for_temporal(conn, course.settings.schema)
            yield Outage(server)


def _wait_for_temporal(conn: Connection[Any], schema: str) -> None:
    """Until a worker vouches for it: tickets that start sooner belong to the poller."""
    started = monotonic()
    while monotonic() - started < CONNECTING:
        with conn.transaction():
            if run(conn, _is_temporal_up(schema)):
                return
        sleep(0.2)
    raise SlaqError("no worker reached the demo's Temporal server in time")


def _is_temporal_up(schema: str) -> Steps[bool]:
    rows = yield Statement(query("temporal", "is_temporal_up", schema), {})
    return bool(rows[0][0])


def environment(course: Course) -> dict[str, str]:
    """What the demo's workers are told."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {
        **inherited,
        "SLAQ_DATABASE_URL": course.app_conninfo,
        "SLAQ_SCHEMA": course.settings.schema,
        "SLAQ_EDITION": course.settings.edition,
        "SLAQ_DIRECTORY": str(course.settings.directory),
        "SLAQ_LOG_LEVEL": "ERROR",
    }
