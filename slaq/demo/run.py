"""The course of the demo: database, desk, tickets, worker, a minute of life, and the summary."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from time import sleep
from typing import Any

import attrs
import psycopg
from psycopg import Connection
from rich.console import Console
from rich.live import Live

from slaq.clock import Reading, monotonic
from slaq.config import Settings
from slaq.configuration import Configuration
from slaq.demo.board import Board
from slaq.demo.summary import summarise
from slaq.demo.tickets import BOARDS, Desk, Step, opening, steps
from slaq.hours import Entry, Holiday, Schedule
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.store.database import Statement, Steps, run
from slaq.store.migrate import grant, migrate
from slaq.store.queries import query
from slaq.store.tenancy import run_with_tenant

TENANT = "demo"
SETTLING = timedelta(seconds=3)
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger("slaq.demo")


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
        service = SyncSlaService(schema=schema)
        with _worker(course):
            desk = _open_desk(course, service, conn)
            _live(course, service, conn, desk)
            until = _now(conn, schema)
            sleep(SETTLING.total_seconds())
        with conn.transaction():
            return summarise(conn, schema, TENANT, sorted(desk.tickets), until)


def _open_desk(course: Course, service: SyncSlaService, conn: Connection[Any]) -> Desk:
    """Put the tickets in, each in a transaction of the host application."""
    tickets = opening(_now(conn, course.settings.schema), demo_schedules(), course.seconds or 60)
    desk = Desk({ticket.ticket_id: ticket for ticket in tickets})
    for ticket in tickets:
        with conn.transaction():
            service.sync_ticket(conn, ticket, actor="demo")
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


def _live(course: Course, service: SyncSlaService, conn: Connection[Any], desk: Desk) -> None:
    """Let the script happen, and show the board meanwhile."""
    board = Board(service, course.settings.schema, TENANT, {t.ticket_id: t.title for t in desk.tickets.values()})
    started, length = monotonic(), course.seconds or 60
    script = steps()
    with Live(console=course.console, auto_refresh=False, transient=False) if course.is_live else _quiet() as live:
        while course.seconds is None or monotonic() - started < length:
            elapsed = monotonic() - started
            while script and script[0].share * length <= elapsed:
                _happen(course, script.pop(0), service, conn, desk, board)
            for message in board.refresh(conn):
                if live is None:
                    course.console.print(f"{message.at:%H:%M:%S}  {message.text}", markup=False)
            if live is not None:
                left = "" if course.seconds is None else f", {max(length - elapsed, 0):.0f} s left"
                live.update(
                    board.render(f"slaq demo: {len(desk.tickets)} tickets{left}; Ctrl-C stops it"), refresh=True
                )
            sleep(0.5)


def _happen(
    course: Course, step: Step, service: SyncSlaService, conn: Connection[Any], desk: Desk, board: Board
) -> None:
    with conn.transaction():
        step.act(service, conn, desk)
    board.events.append(f"* {step.ticket_id} {step.what}")
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


@contextmanager
def _worker(course: Course) -> Generator[None, None, None]:
    """A real ``slaq worker`` beside the demo; it ends with it, even when the demo is killed."""
    environment = {
        **os.environ,
        "SLAQ_DATABASE_URL": course.app_conninfo,
        "SLAQ_SCHEMA": course.settings.schema,
        "SLAQ_DIRECTORY": str(course.settings.directory),
        "SLAQ_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen([sys.executable, "-m", "slaq", "worker"], env=environment, preexec_fn=_die_with_parent)  # noqa: PLW1509
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
