"""A helpdesk with its configuration, and a hand that calls the service at given instants.

Instants are written ``"Mon 09:30"``: office time in Berlin, in the week of Monday 8 January 2024, ``"Mon+1 09:30"``
a week later. They lie in the past, so that the timer, which goes by the database's clock, finds all of them due.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from slaq import SlaService, SyncSlaService, Ticket, run_with_tenant
from slaq.clock import FixedClock
from slaq.jobs.timer import Pass, Timer
from slaq.store.database import run
from slaq.store.tickets import TicketState, read_ticket
from slaq.timeline import Record, expected

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2024, 1, 8)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TENANT = "acme"

CONFIGURATION = """
INSERT INTO slaq.tenants VALUES ('{tenant}', 'Acme');
INSERT INTO slaq.users (tenant, user_id, display_name, email, is_active) VALUES
    ('{tenant}', 'ann', 'Ann', 'ann@acme.test', true), ('{tenant}', 'bob', 'Bob', 'bob@acme.test', true),
    ('{tenant}', 'eve1', 'Eve 1', 'eve1@acme.test', true), ('{tenant}', 'eve2', 'Eve 2', 'eve2@acme.test', true),
    ('{tenant}', 'eve3', 'Eve 3', NULL, true), ('{tenant}', 'ida', 'Ida', 'ida@acme.test', false);
INSERT INTO slaq.priorities (tenant, priority_id, priority_name) VALUES
    ('{tenant}', 'high', 'High'), ('{tenant}', 'normal', 'Normal'), ('{tenant}', 'none', 'None');
INSERT INTO slaq.statuses (tenant, status_id, status_name, is_closed) VALUES
    ('{tenant}', 'new', 'New', false), ('{tenant}', 'waiting', 'Waiting', false), ('{tenant}', 'parts', 'Parts', false),
    ('{tenant}', 'closed', 'Closed', true), ('{tenant}', 'rejected', 'Rejected', true);
INSERT INTO slaq.status_sla_pause_config (tenant, status_id, pauses_sla) VALUES
    ('{tenant}', 'waiting', true), ('{tenant}', 'parts', false);
INSERT INTO slaq.business_hours_schedules (tenant, schedule_id, schedule_name, timezone, is_default) VALUES
    ('{tenant}', 'office', 'Office', 'Europe/Berlin', true);
INSERT INTO slaq.business_hours_entries (tenant, schedule_id, day_of_week, start_time, end_time)
    SELECT '{tenant}', 'office', day, '09:00', '17:00' FROM generate_series(1, 5) day;
INSERT INTO slaq.sla_policies (tenant, sla_policy_id, policy_name, is_default) VALUES
    ('{tenant}', 'gold', 'Gold', true), ('{tenant}', 'silver', 'Silver', false);
INSERT INTO slaq.sla_policy_targets (tenant, sla_policy_id, priority_id, response_time_minutes, resolution_time_minutes) VALUES
    ('{tenant}', 'gold', 'high', 60, 240), ('{tenant}', 'gold', 'normal', 120, 480), ('{tenant}', 'silver', 'high', 240, 960);
INSERT INTO slaq.sla_notification_thresholds
    (tenant, sla_policy_id, threshold_percent, notification_type, notify_board_manager, notify_escalation_manager, channels) VALUES
    ('{tenant}', 'gold', 50, 'warning', false, false, '{{in_app}}'), ('{tenant}', 'gold', 75, 'warning', true, false, '{{in_app}}'),
    ('{tenant}', 'gold', 90, 'warning', false, true, '{{in_app,email}}'), ('{tenant}', 'gold', 100, 'breach', true, true, '{{in_app,email}}');
INSERT INTO slaq.boards (tenant, board_id, board_name, manager_user_id) VALUES
    ('{tenant}', 'desk', 'Desk', 'bob'), ('{tenant}', 'lost', 'Lost', NULL);
INSERT INTO slaq.clients (tenant, client_id, client_name, sla_policy_id) VALUES ('{tenant}', 'vip', 'VIP', 'silver'), ('{tenant}', 'usual', 'Usual', NULL);
INSERT INTO slaq.escalation_managers (tenant, board_id, escalation_level, manager_user_id, notify_via) VALUES
    ('{tenant}', 'desk', 1, 'eve1', '{{in_app}}'), ('{tenant}', 'desk', 2, 'eve2', '{{email}}'), ('{tenant}', 'desk', 3, 'eve3', '{{in_app,email}}');
"""


def instant(text: str) -> datetime:
    """The instant that ``text`` names."""
    match = re.fullmatch(r"(\w{3})(\+\d+)? (\d\d):(\d\d)(?::(\d\d))?", text)
    assert match is not None, text
    day, weeks, hours, minutes, seconds = match.groups()
    local = MONDAY + timedelta(
        days=DAYS.index(day) + 7 * int(weeks or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0)
    )
    return local.replace(tzinfo=BERLIN).astimezone(UTC)


def name(at: datetime | str | None) -> str | None:
    """How ``instant`` writes ``at``."""
    if at is None:
        return None
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    local = at.astimezone(BERLIN).replace(tzinfo=None)
    weeks, day = divmod((local - MONDAY).days, 7)
    return f"{DAYS[day]}{f'{weeks:+}' if weeks else ''} {local:%H:%M}{f'{local::%S}' if local.second else ''}"


def ticket(ticket_id: str = "t1", at: str = "Mon 09:00", **fields: Any) -> Ticket:
    """A ticket of high priority on the desk, assigned to Ann; instants may be given by name."""
    given = {
        key: instant(value) if key.endswith("_at") and isinstance(value, str) else value
        for key, value in fields.items()
    }
    return Ticket(**{
        "ticket_id": ticket_id, "entered_at": instant(at), "title": "Printer", "priority_id": "high", "status_id": "new",
        "board_id": "desk", "assigned_to": "ann", **given,
    })  # fmt: skip


def configure(conn: Connection[Any], tenant: str = TENANT, schema: str = "slaq") -> None:
    """Give ``tenant`` its configuration; the jobs that this asks for are done with."""
    conn.execute("SELECT set_config('slaq.tenant', %s, true)", [tenant])
    text = CONFIGURATION.format(tenant=tenant).replace("slaq.", f"{schema}.")
    conn.execute(text.encode())
    conn.commit()


class Desk:
    """Calls verbs by name at the clock's instant, commits after each, and reads what became of it."""

    def __init__(self, conn: Connection[Any], *, tenant: str = TENANT, schema: str = "slaq") -> None:
        self.conn, self.tenant, self.schema = conn, tenant, schema
        self.dsn = conn.info.dsn
        self.superuser_dsn = make_conninfo(self.dsn, user="postgres")
        self.clock = FixedClock(instant("Mon 09:00"))
        self.sla = SyncSlaService(clock=self.clock, schema=schema)

    def at(self, when: str) -> Desk:
        """The same desk later (or earlier)."""
        self.clock.now = instant(when)
        return self

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)
        method = getattr(self.sla, verb)

        def call(*args: Any, **options: Any) -> Any:
            at = options.get("at")
            if isinstance(at, str):
                options["at"] = instant(at)
            with run_with_tenant(self.tenant):
                result = method(self.conn, *args, **options)
            self.conn.commit()
            return result

        return call

    def sql(self, statement: str, *parameters: Any, commit: bool = True) -> list[dict[str, Any]]:
        """Plain SQL of the tenant."""
        with self.conn.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SELECT set_config('slaq.tenant', %s, true)", [self.tenant])
            cursor.execute(statement.replace("slaq.", f"{self.schema}.").encode(), parameters or None)
            rows = cursor.fetchall() if cursor.description else []
        if commit:
            self.conn.commit()
        return rows

    def row(self, ticket_id: str = "t1") -> dict[str, Any]:
        """The ticket's columns, instants by name."""
        rows = self.sql("SELECT * FROM slaq.tickets WHERE ticket_id = %s", ticket_id)
        return (
            {key: name(value) if isinstance(value, datetime) else value for key, value in rows[0].items()}
            if rows
            else {}
        )

    def facts(self, ticket_id: str = "t1") -> list[str]:
        """``"paused Mon 10:00 status"``, in the order of arrival."""
        rows = self.sql("SELECT kind, at, source FROM slaq.sla_facts WHERE ticket_id = %s ORDER BY fact_id", ticket_id)
        return [" ".join(filter(None, (row["kind"], name(row["at"]), row["source"]))) for row in rows]

    def audit(self, ticket_id: str = "t1") -> list[str]:
        """The types of the audit log's entries."""
        return [entry["event_type"] for entry in self.log(ticket_id)]

    def log(self, ticket_id: str = "t1") -> list[dict[str, Any]]:
        return self.sql("SELECT * FROM slaq.sla_audit_log WHERE ticket_id = %s ORDER BY log_id", ticket_id)

    def crossings(self, ticket_id: str = "t1") -> list[str]:
        """``"response 50% Mon 09:30"``, ``"response level 1 Mon 09:42"``, with ``voided`` or ``silent`` behind."""
        rows = self.sql(
            "SELECT *, voided_at IS NOT NULL AS is_voided FROM slaq.sla_crossings WHERE ticket_id = %s "
            "ORDER BY crossed_at, phase, kind, percent, is_voided", ticket_id,
        )  # fmt: skip
        return [_words(row) for row in rows]

    def inbox(self, ticket_id: str = "t1") -> list[str]:
        """Whom the application shows something: ``"ann 50"``, ``"eve1 70"``."""
        return [f"{row['user_id']} {row['percent']}" for row in self._told("sla_notifications", ticket_id)]

    def mail(self, ticket_id: str = "t1") -> list[str]:
        """Who gets e-mail."""
        return [f"{row['user_id']} {row['percent']}" for row in self._told("sla_deliveries", ticket_id)]

    def _told(self, table: str, ticket_id: str) -> list[dict[str, Any]]:
        return self.sql(
            f"SELECT n.*, c.percent FROM slaq.{table} n JOIN slaq.sla_crossings c USING (tenant, crossing_id) "
            "WHERE n.ticket_id = %s ORDER BY c.crossed_at, c.kind, c.phase, c.percent, n.user_id", ticket_id,
        )  # fmt: skip

    def jobs(self, *queues: str) -> list[dict[str, Any]]:
        """The tenant's jobs of slaq's own, as a superuser sees them, the oldest first; of the queues named, else all."""
        with Connection.connect(self.superuser_dsn, row_factory=dict_row) as conn:
            rows = conn.execute(
                f"SELECT *, args -> 'data' AS data FROM {self.schema}.procrastinate_jobs WHERE args -> 'data' ->> 'tenant' = %s ORDER BY id".encode(),
                [self.tenant],
            ).fetchall()
        return [row for row in rows if not queues or row["queue_name"] in queues]

    def forget_jobs(self) -> None:
        with Connection.connect(self.superuser_dsn) as conn:
            conn.execute(
                f"DELETE FROM {self.schema}.procrastinate_jobs WHERE args -> 'data' ->> 'tenant' = %s".encode(),
                [self.tenant],
            )

    def alarm(self, ticket_id: str = "t1") -> dict[str, Any]:
        rows = self.sql("SELECT * FROM slaq.sla_alarms WHERE ticket_id = %s", ticket_id)
        return (
            {key: name(value) if isinstance(value, datetime) else value for key, value in rows[0].items()}
            if rows
            else {}
        )

    def state(self, ticket_id: str = "t1") -> TicketState:
        state, _ = run(self.conn, read_ticket(self.tenant, ticket_id, self.schema))
        self.conn.commit()
        return state

    def assert_as_expected(self, ticket_id: str = "t1", until: datetime | None = None) -> None:
        """The stored crossings are what the facts ask for."""
        state = self.state(ticket_id)
        wanted = expected(state.facts, until or self.clock.now)
        assert sorted(map(row_of, state.records)) == sorted(map(row_of, wanted)), (state.facts, until)


def row_of(record: Record) -> tuple[Any, ...]:
    """What stored and expected rows are compared by."""
    crossing = record.crossing
    return crossing.phase, crossing.kind, crossing.percent, crossing.crossed_at, record.is_voided


def _words(row: Mapping[str, Any]) -> str:
    what = {"breach": "breach", "threshold": f"{row['percent']}%", "escalation": f"level {row['level']}"}[row["kind"]]
    marks = (" voided" if row["is_voided"] else "") + (" silent" if row["is_silent"] else "")
    return f"{row['phase']} {what} {name(row['crossed_at'])}{marks}"


def sweep(dsn: str, schema: str = "slaq") -> Pass:
    """One sweep of the polling timer, by the database's clock."""

    async def once() -> Pass:
        async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=4, open=False) as pool:
            return await Timer(pool, schema).sweep()

    return asyncio.run(once())


Call = tuple[str, str, Sequence[Any], Mapping[str, Any]]
"""When, which verb, and with what."""


def play_sync(dsn: str, calls: Sequence[Call], tenant: str = TENANT) -> list[Any]:
    """The calls through the sync service; what each returned or raised."""
    clock, outcomes = FixedClock(instant("Mon 09:00")), []
    service = SyncSlaService(clock=clock)
    with Connection.connect(dsn) as conn, run_with_tenant(tenant):
        for when, verb, args, options in calls:
            clock.now = instant(when)
            try:
                outcomes.append(getattr(service, verb)(conn, *args, **options))
            except Exception as error:
                outcomes.append((type(error).__name__, str(error)))
            conn.commit()
    return outcomes


async def play_async(dsn: str, calls: Sequence[Call], tenant: str = TENANT) -> list[Any]:
    """The calls through the async service; what each returned or raised."""
    clock, outcomes = FixedClock(instant("Mon 09:00")), []
    service = SlaService(clock=clock)
    async with await AsyncConnection.connect(dsn) as conn:
        with run_with_tenant(tenant):
            for when, verb, args, options in calls:
                clock.now = instant(when)
                try:
                    outcomes.append(await getattr(service, verb)(conn, *args, **options))
                except Exception as error:
                    outcomes.append((type(error).__name__, str(error)))
                await conn.commit()
    return outcomes
