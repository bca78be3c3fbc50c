"""A small helpdesk with tickets that are due, workers in processes of their own, and what they have left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.jobs import worker as worker_module
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.services.ticket import Ticket
from slaq.store.database import Steps, run
from slaq.store.tenancy import run_with_tenant
from slaq.store.tickets import read_ticket
from slaq.timeline import expected

ROOT = Path(__file__).parents[2]
POLICY: Mapping[str, Any] = {
    "is_default": True,
    "targets": {
        "normal": {"response": "60m", "resolution": "10h", "is_24x7": True, "escalation": {1: 70, 2: 90, 3: 110}}
    },
    "thresholds": {50: {"channels": ["in_app"]}, 75: {"channels": ["in_app"]}, 100: {}},
}
DESK: Mapping[str, Any] = {
    "name": "Acme",
    "users": {"ada": {"email": "ada@acme.example"}, "bob": {"email": "bob@acme.example"}},
    "priorities": {"normal": {}},
    "statuses": {"new": {}, "waiting": {"pauses_sla": True}, "closed": {"is_closed": True}},
    "policies": {"gold": POLICY},
    "boards": {"desk": {"manager": "bob", "escalation_managers": {1: {"manager": "bob", "channels": ["in_app"]}}}},
}


def now(conn: Connection[Any]) -> datetime:
    """The database's time, with the transaction that asked for it ended."""
    at = conn.execute("SELECT clock_timestamp()").fetchone()[0]
    conn.commit()
    return at


def configure(conn: Connection[Any], document: Mapping[str, Any] = DESK, tenant: str = "acme") -> None:
    with conn.transaction():
        apply(conn, Configuration.of(dict(document), tenant=tenant))


def ticket(number: int | str, entered_at: datetime, **fields: Any) -> Ticket:
    fields = {"priority_id": "normal", "board_id": "desk", "assigned_to": "ada", "status_id": "new"} | fields
    return Ticket(ticket_id=f"T-{number:0>4}", entered_at=entered_at, **fields)


def enter(conn: Connection[Any], *ages: timedelta, tenant: str = "acme", first: int = 1, **fields: Any) -> list[str]:
    """Tickets that were entered so long ago, and that nobody has looked at since; their ids."""
    at = now(conn)
    ids = []
    for number, age in enumerate(ages, start=first):
        entered = ticket(number, at - age, **fields)
        with run_with_tenant(tenant), conn.transaction():
            SyncSlaService(clock=FixedClock(at - age)).sync_ticket(conn, entered)
        ids.append(entered.ticket_id)
    return ids


def rows(conn: Connection[Any], statement: str, tenant: str = "acme", **parameters: Any) -> list[dict[str, Any]]:
    """What a tenant sees."""
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT set_config('slaq.tenant', %s, true)", [tenant])
        return cursor.execute(statement, parameters).fetchall()


def crossings(conn: Connection[Any], tenant: str = "acme", ticket_id: str | None = None) -> list[dict[str, Any]]:
    return rows(
        conn,
        """SELECT ticket_id, phase, kind, percent, crossed_at, voided_at IS NOT NULL AS is_voided, noticed_at, claimed_by
           FROM slaq.sla_crossings WHERE %(id)s::text IS NULL OR ticket_id = %(id)s
           ORDER BY ticket_id, crossed_at, phase, kind, percent""",
        tenant,
        id=ticket_id,
    )


def alarm(conn: Connection[Any], ticket_id: str, tenant: str = "acme") -> dict[str, Any]:
    return rows(conn, "SELECT * FROM slaq.sla_alarms WHERE ticket_id = %(id)s", tenant, id=ticket_id)[0]


def assert_as_expected(
    conn: Connection[Any], ids: list[str], tenant: str = "acme", until: datetime | None = None
) -> None:
    """The recorded rows are those that punctual timers would have recorded, none twice, and each told once."""
    until = until or now(conn)
    for ticket_id in ids:
        state = _state(conn, tenant, ticket_id)
        wanted = sorted((*r.crossing.key, r.crossing.crossed_at, r.is_voided) for r in expected(state.facts, until))
        found = sorted((*r.crossing.key, r.crossing.crossed_at, r.is_voided) for r in state.records)
        assert found == wanted, ticket_id
        assert len(wanted) == len(set(wanted))
    untold = rows(
        conn,
        """SELECT c.ticket_id, c.percent, count(n) FROM slaq.sla_crossings c
           LEFT JOIN slaq.sla_notifications n USING (tenant, crossing_id)
           WHERE c.kind = 'threshold' GROUP BY c.crossing_id, c.ticket_id, c.percent HAVING count(n) <> 1""",
        tenant,
    )
    assert untold == []


def _state(conn: Connection[Any], tenant: str, ticket_id: str) -> Any:
    def steps() -> Steps[Any]:
        state, _ = yield from read_ticket(tenant, ticket_id, "slaq")
        return state

    with conn.transaction():
        return run(conn, steps())


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of ``condition``; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def pool_of(dsn: str, size: int = 5) -> AbstractAsyncContextManager[AsyncConnectionPool[AsyncConnection[Any]]]:
    """A pool as the worker has one."""
    return worker_module.open_pool(dsn, size)


@attrs.define
class Worker:
    """``slaq worker`` in a process of its own, and what it says."""

    process: subprocess.Popen[str]
    said: list[str] = attrs.field(factory=list)

    def has_said(self, text: str) -> bool:
        return any(text in line for line in self.said)

    def hears(self, text: str, seconds: float = 20.0) -> None:
        try:
            eventually(lambda: self.has_said(text), seconds)
        except AssertionError as error:
            raise AssertionError(f"it did not say {text!r}, but:\n{''.join(self.said)}") from error

    def stop(self, how: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        return self.process.wait(seconds)


@contextmanager
def worker(dsn: str, *arguments: str, program: str | None = None, **environment: str) -> Iterator[Worker]:
    """A worker process, killed at the end if it is still there.

    ``program`` is Python that runs before the worker in the same process.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "SLAQ_"))}
    path = os.pathsep.join(
        filter(None, [environment.pop("PYTHONPATH", ""), str(ROOT), os.environ.get("PYTHONPATH", "")])
    )
    command = ["-m", "slaq"] if program is None else ["-c", f"{program}\nfrom slaq.cli import main\nmain()"]
    process = subprocess.Popen(
        [sys.executable, *command, "worker", *arguments],
        env=variables | {"SLAQ_DATABASE_URL": dsn, "PYTHONPATH": path, "SLAQ_LOOP_INTERVAL": "0.2"} | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=environment.get("HOME", "/tmp"),
    )
    running = Worker(process)
    reader = threading.Thread(target=lambda: running.said.extend(process.stderr), daemon=True)
    reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        process.stderr.close()


QUICK = """
import datetime, functools, slaq.jobs.runner as r, slaq.jobs.upkeep as u, slaq.jobs.worker as w
r.HEARTBEAT, r.STALE, u.STALE = 0.3, datetime.timedelta(seconds=1.5), datetime.timedelta(seconds=1.5)
w.QueueWorker = functools.partial(r.QueueWorker, polling_interval=0.2, upkeep_interval=0.3)
"""
"""Makes a worker notice in a second or two what otherwise takes twenty."""


def busy(superuser: psycopg.Connection[Any], queue: str | None = None) -> list[dict[str, Any]]:
    """The jobs, of one queue if named, that are not done."""
    with superuser.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """SELECT * FROM slaq.procrastinate_jobs
               WHERE status IN ('todo', 'doing') AND (%(queue)s::text IS NULL OR queue_name = %(queue)s) ORDER BY id""",
            {"queue": queue},
        ).fetchall()
