"""Cron lines in their zones: once a tick, right when clocks change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from slaq.jobs.model import Schedule
from slaq.jobs.schedule import due_tick, last_tick, next_tick, preview_schedule
from slaq.jobs.testing import run_due
from slaq.jobs.upkeep import tick

NEW_YORK = ZoneInfo("America/New_York")


def ticks(cron: str, start: datetime, end: datetime) -> list[str]:
    found, at = [], start.astimezone(UTC)
    while (at := next_tick(cron, NEW_YORK, at)) <= end.astimezone(UTC):
        found.append(at.astimezone(NEW_YORK).strftime("%d %H:%M%z"))
    return found


def test_a_time_that_is_skipped_fires_once_after_the_change() -> None:
    start = datetime(2026, 3, 7, 12, tzinfo=NEW_YORK)
    assert ticks("30 2 * * *", start, start + timedelta(days=2)) == ["08 03:30-0400", "09 02:30-0400"]


def test_a_time_that_comes_twice_fires_once() -> None:
    start = datetime(2026, 10, 31, 12, tzinfo=NEW_YORK)
    assert ticks("30 1 * * *", start, start + timedelta(days=2)) == ["01 01:30-0400", "02 01:30-0500"]


def test_hourly_lines_follow_real_time() -> None:
    autumn = datetime(2026, 11, 1, 0, 30, tzinfo=NEW_YORK)
    assert ticks("0 * * * *", autumn, autumn + timedelta(hours=4)) == [
        "01 01:00-0400", "01 01:00-0500", "01 02:00-0500", "01 03:00-0500", "01 04:00-0500",
    ]  # fmt: skip
    spring = datetime(2026, 3, 8, 0, 30, tzinfo=NEW_YORK)
    assert ticks("0 * * * *", spring, datetime(2026, 3, 8, 4, 30, tzinfo=NEW_YORK)) == [
        "08 01:00-0500", "08 03:00-0400", "08 04:00-0400",
    ]  # fmt: skip


def test_every_minute_of_both_long_nights_fires_exactly_once() -> None:
    for start in (datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC)):
        at = start
        for minute in range(1, 240):
            at = next_tick("* * * * *", NEW_YORK, at)
            assert at == start + timedelta(minutes=minute)


def test_the_last_tick_is_the_one_before_the_next() -> None:
    for cron in ("*/15 * * * *", "30 2 * * *", "0 9 * * 1", "0 0 1 1 *", "30 1 * * *"):
        at = datetime(2026, 1, 1, tzinfo=UTC)
        for _ in range(40):
            following = next_tick(cron, NEW_YORK, at)
            assert last_tick(cron, NEW_YORK, following) == following
            assert (last_tick(cron, NEW_YORK, following - timedelta(seconds=1)) or at) <= at or at == datetime(
                2026, 1, 1, tzinfo=UTC
            )
            at = following


def test_preview() -> None:
    shown = preview_schedule("0 9 * * 1-5", tz="Europe/Berlin", after=datetime(2026, 3, 27, 12, tzinfo=UTC), count=2)
    assert [at.isoformat() for at in shown] == ["2026-03-30T09:00:00+02:00", "2026-03-31T09:00:00+02:00"]


def schedule(**fields) -> Schedule:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    base = {"queue": "q", "key": "", "cron": "0 * * * *", "zone": "UTC", "missed": "skip", "data": None, "options": {}}
    return Schedule(**{**base, "last_tick": None, "created_at": created, **fields})


def test_missed_ticks_are_skipped_or_made_up_for_once() -> None:
    now = datetime(2026, 1, 1, 5, 20, tzinfo=UTC)
    five = datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert due_tick(schedule(), now) is None
    assert due_tick(schedule(), five + timedelta(seconds=30)) == five
    assert due_tick(schedule(missed="once", last_tick=five - timedelta(hours=3)), now) == five
    assert due_tick(schedule(missed="once", last_tick=five), now) is None
    assert due_tick(schedule(missed="once", created_at=five + timedelta(minutes=1)), now) is None


async def test_three_tickers_send_one_job_per_key(queue, conn, dsn):
    for key in ("a", "b"):
        await queue.schedule(conn, "q", "* * * * *", {"from": key}, tz="America/New_York", key=key, missed="once")
    await conn.execute("UPDATE slaq.queue_schedules SET created_at = now() - interval '5 minutes'")
    others = [await AsyncConnection.connect(dsn, autocommit=True) for _ in range(3)]
    sent = await asyncio.gather(*(tick(each, "slaq", queue) for each in others))
    for each in others:
        await each.close()
    assert 2 <= sum(map(len, sent)) <= 4  # four when a minute began meanwhile
    assert {job.data["from"] for job in await queue.find_jobs(conn, "q")} == {"a", "b"}


async def test_scheduling_again_updates_in_place(queue, conn, dsn):
    await queue.schedule(conn, "q", "0 * * * *", 1)
    await queue.schedule(conn, "q", "5 * * * *", 2, tz="Europe/Berlin", priority=4)
    (only,) = await queue.get_schedules(conn, "q")
    assert (only.cron, only.zone, only.data, only.options) == ("5 * * * *", "Europe/Berlin", 2, {"priority": 4})
    assert await queue.unschedule(conn, "q")
    assert not await queue.unschedule(conn, "q")


async def test_run_due_runs_what_a_schedule_sends(queue, conn, dsn):
    seen = []
    queue.work("q")(lambda job: seen.append(job.data))
    await queue.schedule(conn, "q", "* * * * *", 7, missed="once")
    await conn.execute("UPDATE slaq.queue_schedules SET created_at = now() - interval '5 minutes'")
    assert len(await run_due(queue, dsn, conn)) == 1
    assert seen == [7]


async def test_a_preview_by_the_database_s_clock(queue, conn):
    (now,) = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    first, second = await queue.preview_schedule(conn, "30 2 * * *", tz="America/New_York", count=2)
    assert (first.hour, first.minute) in ((2, 30), (3, 30))
    assert timedelta() < first - now <= timedelta(hours=25) and second > first
    fixed = await queue.preview_schedule(conn, "0 * * * *", after=datetime(2026, 1, 1, tzinfo=UTC), count=1)
    assert fixed == [datetime(2026, 1, 1, 1, tzinfo=UTC)]
