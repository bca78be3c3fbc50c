"""What the timer costs: a look among many open tickets, many due at once, and a call of the service.

    python -m benchmarks.timer

A Postgres of its own with fsync on, server and client on the same machine; compare as ratios in one run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.jobs.timer import Timer
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.services.ticket import Ticket
from slaq.store.migrate import grant, migrate
from slaq.store.tenancy import run_with_tenant

OPEN = (10_000, 100_000, 1_000_000)
DUE = (0, 100, 1000)
BACKLOG = 10_000
WARM = 500
SLICES = 10
CALLS = 2000
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_wal_size": "4GB"}
TENANT = "acme"
DESK = {
    "users": {"ada": {"email": "ada@acme.example"}},
    "priorities": {"normal": {}},
    "statuses": {"new": {}, "waiting": {"pauses_sla": True}},
    "policies": {
        "gold": {
            "is_default": True,
            "targets": {"normal": {"response": "60m", "resolution": "600h", "is_24x7": True}},
            "thresholds": {50: {}, 100: {}},
        }
    },
}
_COPIED = {
    "tickets": ("ticket_id, ticket_number", "'C-' || n, 'C-' || n"),
    "sla_facts": ("ticket_id", "'C-' || n"),
    "sla_alarms": ("ticket_id", "'C-' || n"),
}


class Row(NamedTuple):
    """One measured line."""

    what: str
    per_second: float | None
    milliseconds: float
    ratio: float | None
    """To the bare commits beside it, or to the same look among the fewest open tickets."""


class Place(NamedTuple):
    """Where it is measured."""

    app: str
    superuser: Connection[Any]


def rows() -> list[Row]:
    """Everything, in one run."""
    with temporary(settings=SAFE) as server:
        place = _prepared(server)
        with place.superuser, psycopg.connect(place.app) as conn, run_with_tenant(TENANT):
            return [*_backlog(place, conn), *_calls(conn), *_looks(place, conn)]


def _prepared(server: EmbeddedPostgres) -> Place:
    with psycopg.connect(server.admin_conninfo(), autocommit=True) as conn:
        migrate(conn, "slaq")
        grant(conn, "slaq", APP, to_worker=True)
        conn.execute("CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, value text)")
        conn.execute(f"GRANT ALL ON bare TO {APP}")
    with psycopg.connect(server.conninfo()) as conn, conn.transaction():
        apply(conn, Configuration.of(DESK, tenant=TENANT))
    superuser = psycopg.connect(make_conninfo(server.conninfo(), user="postgres"), autocommit=True)
    return Place(server.conninfo(), superuser)


# ── how long a look takes, whatever is open ──


def _looks(place: Place, conn: Connection[Any]) -> Iterator[Row]:
    for due in DUE:
        base = None
        for open_tickets in OPEN:
            _fill(place, conn, open_tickets, due)
            seconds = asyncio.run(_swept(place.app, due)) if due else asyncio.run(_looked(place.app))
            base = base or seconds
            yield Row(f"a tick with {due:,} due among {open_tickets:,} open", None, seconds * 1000, seconds / base)


async def _looked(dsn: str) -> float:
    """The median of a look that finds nothing, with asking when to look again."""
    async with _pool(dsn) as pool:
        timer, times = Timer(pool, "slaq"), []
        for _ in range(50):
            started = perf_counter()
            async with pool.connection() as conn:
                clock = await timer._clock(conn)
            await timer.run_pass(clock)
            await timer._until_next(clock)
            times.append(perf_counter() - started)
    return median(times)


async def _swept(dsn: str, due: int) -> float:
    async with _pool(dsn) as pool:
        timer = Timer(pool, "slaq")
        for _ in range(WARM // 100):  # a worker's connections are old, and have planned everything
            await timer.run_pass()
        started = perf_counter()
        done = await timer.sweep()
        seconds = perf_counter() - started
    assert done.settled == due, done
    return seconds


# ── ten thousand due at once, each in a transaction of its own ──


def _backlog(place: Place, conn: Connection[Any]) -> Iterator[Row]:
    """In slices, with bare commits between them: a machine's disk and neighbours change from second to second."""
    _fill(place, conn, BACKLOG, BACKLOG)
    one, four, rates = asyncio.run(_slices(place.app))
    told = place.superuser.execute(
        "SELECT (SELECT count(*) FROM slaq.sla_notifications),"
        " (SELECT count(*) FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-threshold-reached')"
    ).fetchone()
    assert told == (BACKLOG + WARM, BACKLOG + WARM), told
    yield _row("bare commits of one row, one connection", one, one)
    yield _row("bare commits of one row, four connections", four, one)
    yield _row(f"{BACKLOG:,} due tickets told, one process", rates, one)


async def _slices(dsn: str) -> tuple[list[float], list[float], list[float]]:
    one, four, rates = [], [], []
    async with _pool(dsn) as pool:
        timer = Timer(pool, "slaq")
        for _ in range(WARM // 100):
            await timer.run_pass()
        for _ in range(SLICES):
            one.append(await asyncio.to_thread(_bare_commits, dsn, 0.5))
            four.append(await _bare_commits_of_four(dsn, 0.5))
            started = perf_counter()
            for _ in range(BACKLOG // SLICES // 100):
                await timer.run_pass()
            rates.append(BACKLOG / SLICES / (perf_counter() - started))
    return one, four, rates


def _row(what: str, rates: list[float], bare: list[float]) -> Row:
    return Row(what, median(rates), 1000 / median(rates), median(r / b for r, b in zip(rates, bare, strict=True)))


def _bare_commits(dsn: str, seconds: float) -> float:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return _rate(lambda: conn.execute("INSERT INTO bare (value) VALUES ('x')"), seconds)


async def _bare_commits_of_four(dsn: str, seconds: float) -> float:
    async def insert() -> int:
        async with pool.connection() as conn:
            count, until = 0, perf_counter() + seconds
            while perf_counter() < until:
                await conn.execute("INSERT INTO bare (value) VALUES ('x')")
                count += 1
            return count

    async with _pool(dsn) as pool:
        return sum(await asyncio.gather(*(insert() for _ in range(4)))) / seconds


# ── a call of the service in a transaction of the host's ──


def _calls(conn: Connection[Any]) -> Iterator[Row]:
    service, entered = SyncSlaService(), _now(conn)
    tickets = [_ticket(f"S-{number}", entered) for number in range(CALLS)]

    def insert(_: Ticket) -> None:
        with conn.transaction():
            conn.execute("INSERT INTO bare (value) VALUES ('x')")

    def sync(ticket: Ticket, **changes: Any) -> None:
        with conn.transaction():
            service.sync_ticket(conn, Ticket(**{**_fields(ticket), **changes}))

    calls: dict[str, Callable[[Ticket], None]] = {
        "bare insert and commit": insert,
        "sync_ticket of a new ticket": sync,
        "sync_ticket that changes nothing": sync,
        "sync_ticket that pauses": lambda ticket: sync(ticket, status_id="waiting"),
        "sync_ticket that resumes": sync,
    }
    rates: dict[str, list[float]] = {what: [] for what in calls}
    for some in range(SLICES):
        for what, call in calls.items():
            rates[what].append(_each(tickets[some::SLICES], call))
    for what in calls:
        yield _row(what, rates[what], rates["bare insert and commit"])


def _each(tickets: list[Ticket], call: Callable[[Ticket], None]) -> float:
    started = perf_counter()
    for ticket in tickets:
        call(ticket)
    return len(tickets) / (perf_counter() - started)


def _rate(call: Callable[[], Any], seconds: float) -> float:
    count, started = 0, perf_counter()
    while (passed := perf_counter() - started) < seconds:
        call()
        count += 1
    return count / passed


# ── the tickets ──


def _fill(place: Place, conn: Connection[Any], open_tickets: int, due: int) -> None:
    """That many open tickets under one promise, ``due`` of them (and some to warm up with) at half their response target."""
    su = place.superuser
    su.execute(
        "TRUNCATE slaq.tickets, slaq.sla_facts, slaq.sla_alarms, slaq.sla_crossings, slaq.sla_notifications CASCADE"
    )
    su.execute("TRUNCATE slaq.procrastinate_jobs CASCADE")
    at = _now(conn)
    due += WARM if due else 0
    _copy(su, conn, "due", at - timedelta(minutes=31), 1, due)
    _copy(su, conn, "open", at, due + 1, open_tickets)
    su.execute("VACUUM ANALYZE slaq.tickets, slaq.sla_facts, slaq.sla_alarms")
    su.execute("CHECKPOINT")


def _copy(su: Connection[Any], conn: Connection[Any], name: str, entered: datetime, first: int, last: int) -> None:
    """Tickets ``first`` to ``last``, as the service writes one."""
    if last < first:
        return
    with conn.transaction():
        SyncSlaService(clock=FixedClock(entered)).sync_ticket(conn, _ticket(name, entered))
    for table, (columns, values) in _COPIED.items():
        others = su.execute(
            """SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
               WHERE table_schema = 'slaq' AND table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO'
               AND column_name <> ALL (string_to_array(%s, ', '))""",
            [table, columns],
        ).fetchone()[0]
        su.execute(
            f"""INSERT INTO slaq.{table} ({columns}, {others})
                SELECT {values}, {others} FROM slaq.{table}, generate_series({first}, {last}) n WHERE ticket_id = '{name}'"""
        )
    su.execute("DELETE FROM slaq.tickets WHERE ticket_id = %s", [name])
    su.execute("DELETE FROM slaq.sla_alarms WHERE ticket_id = %s", [name])


def _ticket(ticket_id: str, entered: datetime) -> Ticket:
    return Ticket(ticket_id=ticket_id, entered_at=entered, priority_id="normal", assigned_to="ada", status_id="new")


def _fields(ticket: Ticket) -> dict[str, Any]:
    return {
        name: getattr(ticket, name) for name in ("ticket_id", "entered_at", "priority_id", "assigned_to", "status_id")
    }


def _now(conn: Connection[Any]) -> datetime:
    with conn.transaction():
        return conn.execute("SELECT clock_timestamp()").fetchone()[0]


def _pool(dsn: str) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=5, max_size=5, open=False)


def main() -> None:
    print(f"{'':58} {'per second':>11} {'ms':>9} {'ratio':>7}")
    for row in rows():
        rate = "" if row.per_second is None else f"{row.per_second:,.0f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(f"{row.what:58} {rate:>11} {row.milliseconds:>9.2f} {ratio:>7}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
