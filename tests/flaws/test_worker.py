"""Flaws of the reference's poller and of what it hands on, each as the behaviour that is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from worker.desk import DESK, POLICY, alarm, assert_as_expected, configure, crossings, enter, now, pool_of, rows, ticket

from slaq.clock import FixedClock, Reading
from slaq.config import Settings
from slaq.jobs import SyncJobQueue
from slaq.jobs.own import EVENT, own_handlers
from slaq.jobs.schedule import preview_schedule
from slaq.jobs.testing import drain
from slaq.jobs.timer import Pass, Timer
from slaq.services.service import SyncSlaService
from slaq.store.tenancy import run_with_tenant

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OFFICE = {"timezone": "UTC", "is_default": True, "hours": {"mon-fri": ["09:00-17:00"]}}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def desk(app_conn: Connection[Any]) -> Connection[Any]:
    configure(app_conn)
    return app_conn


def policy(**target: Any) -> dict[str, Any]:
    """A desk whose only policy has this target, no schedule of its own, and is told at 50, 75, 90 and 100 %."""
    target = {"escalation": {}} | target
    thresholds: dict[int, Any] = {50: {}, 75: {}, 90: {}, 100: {}}
    return dict(DESK) | {
        "policies": {"gold": {"is_default": True, "targets": {"normal": target}, "thresholds": thresholds}}
    }


def sync(conn: Connection[Any], at: datetime, number: int = 1, **fields: Any) -> None:
    with run_with_tenant("acme"), conn.transaction():
        SyncSlaService(clock=FixedClock(at)).sync_ticket(conn, ticket(number, fields.pop("entered_at", at), **fields))


def call(conn: Connection[Any], at: datetime, verb: str, *arguments: Any) -> Any:
    with run_with_tenant("acme"), conn.transaction():
        return getattr(SyncSlaService(clock=FixedClock(at)), verb)(conn, *arguments)


async def sweep(dsn: str, at: datetime | None = None) -> Pass:
    """All that is due, at ``at`` if given."""
    async with pool_of(dsn) as pool:
        timer = Timer(pool, "slaq")
        return await timer.sweep() if at is None else await timer.run_pass(Reading(at))


def told(conn: Connection[Any], phase: str = "response") -> list[tuple[str, int]]:
    return [(c["kind"], c["percent"]) for c in crossings(conn) if c["phase"] == phase and not c["is_voided"]]


async def test_f01_the_poller_settles_tickets_of_the_real_schema_and_keeps_what_it_wrote(
    desk: Connection[Any], dsn: str
) -> None:
    ids = enter(desk, *[61 * MINUTE] * 3)
    assert (await sweep(dsn)).settled == 3
    with psycopg.connect(dsn) as other:
        assert_as_expected(other, ids)
        assert len(rows(other, "SELECT FROM slaq.sla_crossings WHERE kind = 'breach'")) == 3


def test_f01_the_tick_recurs_every_five_minutes(app_conn: Connection[Any]) -> None:
    (timer,) = SyncJobQueue().get_schedules(app_conn, "sla-timer")
    ticks = preview_schedule(timer.cron, tz=timer.zone, after=utc("2026-11-23T09:00"), count=13)
    assert [tick.minute for tick in ticks] == [*range(5, 60, 5), 0, 5]


async def test_f01_one_failing_ticket_fails_no_other(desk: Connection[Any], dsn: str, superuser_dsn: str) -> None:
    ids = enter(desk, *[61 * MINUTE] * 3)
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        superuser.execute("INSERT INTO slaq.sla_promises VALUES ('acme', 'broken', '[1]')")
        superuser.execute("UPDATE slaq.sla_facts SET promise_id = 'broken' WHERE ticket_id = %s", [ids[0]])
    done = await sweep(dsn)
    assert (done.settled, done.failed) == (2, 1)
    assert {c["ticket_id"] for c in crossings(desk)} == set(ids[1:])


async def test_f10_every_threshold_of_a_gap_is_told(desk: Connection[Any], dsn: str) -> None:
    configure(desk, policy(response="60m", is_24x7=True))
    enter(desk, 59 * MINUTE)
    assert (await sweep(dsn)).told == 3
    assert told(desk) == [("threshold", 50), ("threshold", 75), ("threshold", 90)]
    shown = rows(desk, "SELECT user_id, title FROM slaq.sla_notifications ORDER BY title")
    assert [(row["user_id"], row["title"].split()[2]) for row in shown] == [("ada", "50"), ("ada", "75"), ("ada", "90")]


class Interrupted(Timer):
    """Something happens between its reading and its writing of a ticket."""

    def __init__(self, pool: Any, act: Callable[[], None]) -> None:
        super().__init__(pool, "slaq")
        self._act = act

    async def _settle(self, *arguments: Any) -> None:
        self._act()
        await super()._settle(*arguments)


async def test_f26_an_answer_between_reading_and_writing_is_not_overwritten(desk: Connection[Any], dsn: str) -> None:
    (ticket_id,) = enter(desk, 61 * MINUTE)
    answered_at = now(desk) - 5 * MINUTE
    async with pool_of(dsn) as pool:
        done = await Interrupted(pool, lambda: call(desk, answered_at, "record_first_response", ticket_id)).run_pass()
    assert (done.settled, done.stale) == (0, 1)
    await sweep(dsn)
    stored = rows(desk, "SELECT sla_response_at, sla_response_met FROM slaq.tickets")
    assert stored == [{"sla_response_at": answered_at, "sla_response_met": True}]
    assert ("breach", 100) not in told(desk)


async def test_f30_the_poller_escalates(desk: Connection[Any], dsn: str) -> None:
    (ticket_id,) = enter(desk, 70 * MINUTE)
    await sweep(dsn)
    stored = rows(desk, "SELECT escalated, escalation_level FROM slaq.tickets")
    assert stored == [{"escalated": True, "escalation_level": 3}]
    assert [percent for kind, percent in told(desk) if kind == "escalation"] == [70, 90, 110]
    shown = rows(
        desk,
        "SELECT user_id FROM slaq.sla_notifications n JOIN slaq.sla_crossings c USING (tenant, crossing_id) WHERE level = 1",
    )
    assert shown == [{"user_id": "bob"}]
    assert_as_expected(desk, [ticket_id])


async def test_f35_an_event_whose_handling_fails_is_not_lost(
    desk: Connection[Any], dsn: str, superuser_dsn: str
) -> None:
    enter(desk, 31 * MINUTE)
    await sweep(dsn)
    heard: list[str] = []

    def handler(event: Any) -> None:
        heard.append(event["event_id"])
        if len(heard) == 1:
            raise RuntimeError("the database hiccups")

    own = own_handlers(Settings(), None, None, None, None, handler)
    await drain(own, dsn, queues=[EVENT])
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        events = "queue_name = 'sla-threshold-reached'"
        found = superuser.execute(
            f"SELECT status::text, attempts FROM slaq.procrastinate_jobs WHERE {events}"
        ).fetchall()
        assert found == [("todo", 1)]
        superuser.execute("UPDATE slaq.procrastinate_jobs SET scheduled_at = NULL")
        await drain(own, dsn, queues=[EVENT])
        found = superuser.execute(f"SELECT status::text FROM slaq.procrastinate_jobs WHERE {events}").fetchall()
        assert found == [("succeeded",)]
    assert len(heard) == 2
    assert len(set(heard)) == 1


@pytest.mark.parametrize(
    ("what", "document", "entered", "due"),
    [
        (
            "a policy without a schedule is counted in the tenant's default",
            policy(response="60m") | {"schedules": {"office": OFFICE}},
            "2026-11-16T16:30",
            "2026-11-17T09:30",
        ),
        (
            "a 24x7 target is counted around the clock, whatever the policy's schedule",
            policy(response="15m", is_24x7=True) | {"schedules": {"office": OFFICE}},
            "2026-11-16T20:00",
            "2026-11-16T20:15",
        ),
        (
            "a holiday of all schedules closes",
            policy(response="60m") | {"schedules": {"office": OFFICE}, "holidays": ["2026-11-17"]},
            "2026-11-16T16:30",
            "2026-11-18T09:30",
        ),
        (
            "without any schedule it is counted around the clock",
            policy(response="60m"),
            "2026-11-14T20:00",
            "2026-11-14T21:00",
        ),
    ],
)
async def test_f38_poller_and_service_count_in_the_same_calendar(
    what: str, document: dict[str, Any], entered: str, due: str, app_conn: Connection[Any], dsn: str
) -> None:
    configure(app_conn, document)
    sync(app_conn, utc(entered))
    assert call(app_conn, utc(entered), "get_sla_status", "T-0001").response.due_at == utc(due)
    await sweep(dsn)
    breach = next(c for c in crossings(app_conn) if c["kind"] == "breach")
    assert breach["crossed_at"] == utc(due), what


async def test_f38_no_target_is_no_breach(app_conn: Connection[Any], dsn: str) -> None:
    configure(app_conn, policy(response="60m", is_24x7=True) | {"priorities": {"normal": {}, "lowest": {}}})
    sync(app_conn, utc("2026-11-16T09:00"))
    call(app_conn, utc("2026-11-16T09:10"), "handle_priority_change", "T-0001", "lowest")
    assert alarm(app_conn, "T-0001")["due_at"] is None
    assert (await sweep(dsn)).leased == 0
    assert told(app_conn) == []


async def test_f39_a_deadline_beyond_a_year_is_not_given_up_on(app_conn: Connection[Any], dsn: str) -> None:
    office = {**OFFICE, "hours": {"mon": ["09:00-09:30"]}}  # half an hour a week
    configure(app_conn, policy(resolution="60h") | {"schedules": {"office": office}})
    start = utc("2026-11-16T09:00")
    sync(app_conn, start)
    assert call(app_conn, start, "get_sla_status", "T-0001").resolution.due_at == start + 119 * 7 * DAY + 30 * MINUTE
    assert alarm(app_conn, "T-0001")["due_at"] == start + 59 * 7 * DAY + 30 * MINUTE  # half of it, in more than a year
    assert (await sweep(dsn, start + 366 * DAY)).leased == 0
    assert (await sweep(dsn, start + 59 * 7 * DAY + 30 * MINUTE)).told == 1


async def test_f39_a_shutdown_of_weeks_is_slept_through(app_conn: Connection[Any], dsn: str) -> None:
    days = [f"2024-12-{day}" for day in range(20, 32)] + [f"2025-01-{day:02}" for day in range(1, 8)]
    configure(app_conn, policy(response="60m") | {"schedules": {"office": OFFICE}, "holidays": days})
    start = utc("2024-12-19T18:00")
    sync(app_conn, start)
    assert alarm(app_conn, "T-0001")["due_at"] == utc("2025-01-08T09:30")
    assert (await sweep(dsn, start + DAY)).leased == 0


async def test_f44_what_was_told_under_an_old_promise_silences_no_new_one(app_conn: Connection[Any], dsn: str) -> None:
    both = policy(response="60m", is_24x7=True)
    both["priorities"] = {"normal": {}, "slow": {}}
    both["policies"]["gold"]["targets"]["slow"] = {"response": "8h", "is_24x7": True, "escalation": {}}
    configure(app_conn, both)
    start = utc("2026-11-16T09:00")
    sync(app_conn, start)
    await sweep(dsn, start + 55 * MINUTE)
    assert told(app_conn) == [("threshold", 50), ("threshold", 75), ("threshold", 90)]
    call(app_conn, start + 56 * MINUTE, "handle_priority_change", "T-0001", "slow")
    assert told(app_conn) == []
    for hours, percent in ((4, 50), (6, 75), (7.2, 90)):
        assert (await sweep(dsn, start + timedelta(hours=hours))).told == 1
        assert told(app_conn)[-1] == ("threshold", percent)
    assert len(rows(app_conn, "SELECT FROM slaq.sla_notifications")) == 6


async def test_f44_what_was_told_is_rolled_back_with_its_job(
    desk: Connection[Any], dsn: str, superuser_dsn: str
) -> None:
    enter(desk, 31 * MINUTE)
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        superuser.execute(
            """CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'too late'; END$$"""
        )
        superuser.execute(
            """CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON slaq.sla_alarms DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
               WHEN (NEW.version > OLD.version) EXECUTE FUNCTION public.refuse()"""
        )
        assert (await sweep(dsn)).failed == 1
        jobs = superuser.execute(
            "SELECT FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-threshold-reached'"
        ).rowcount
    assert (jobs, told(desk), rows(desk, "SELECT FROM slaq.sla_notifications")) == (0, [], [])


async def test_f53_old_tickets_cost_no_more_than_young_ones(app_conn: Connection[Any], dsn: str) -> None:
    """Two hundred tickets of ninety days; the reference would have needed three quarters of a minute."""
    configure(app_conn, policy(response="60m", resolution="400h") | {"schedules": {"office": OFFICE}})
    for number in range(1, 201):
        sync(app_conn, now(app_conn) - 90 * DAY, number)
    started = time.perf_counter()
    done = await sweep(dsn)
    assert done.settled == 200
    assert time.perf_counter() - started < 5


async def test_f53_no_transaction_spans_tickets(desk: Connection[Any], dsn: str, connect: Any) -> None:
    enter(desk, *[31 * MINUTE] * 12)
    other, seen = connect(), []

    class Watched(Timer):
        async def _settle(self, *arguments: Any) -> None:
            await super()._settle(*arguments)
            seen.append(len(crossings(other)))

    async with pool_of(dsn) as pool:
        await Watched(pool, "slaq", concurrency=1).run_pass()
    assert seen == list(range(1, 13))


async def test_f55b_closed_tickets_are_not_polled(desk: Connection[Any], dsn: str) -> None:
    (closed, resolved, deleted) = enter(desk, *[10 * MINUTE] * 3)
    at = now(desk) - 9 * MINUTE
    call(desk, at, "handle_status_change", closed, "closed")
    call(desk, at, "record_resolution", resolved)
    call(desk, at, "delete_ticket", deleted)
    assert [row["due_at"] for row in rows(desk, "SELECT due_at FROM slaq.sla_alarms")] == [None, None]
    assert (await sweep(dsn, at + 365 * DAY)).leased == 0
    assert crossings(desk) == []


def test_f59_the_poller_is_shown_over_a_real_database_alone() -> None:
    """No test of the worker puts something in the database's place."""
    tests = Path(__file__).parents[1]
    for file in (Path(__file__), *(tests / "worker").glob("*.py")):
        assert not any(
            word in file.read_text() for word in ("unittest" + ".mock", "Magic" + "Mock", "InMemory" + "Connector")
        ), file
    assert POLICY["thresholds"]
