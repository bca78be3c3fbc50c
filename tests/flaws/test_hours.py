"""Flaws of business-time arithmetic, each as the behaviour that is right."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from psycopg import Connection

from slaq import SyncSlaService, Ticket, run_with_tenant
from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.hours import Entry, Holiday, InvalidSchedule, NeverOpens, Schedule
from slaq.services.apply import apply

WEEKDAYS = range(1, 6)
OFFICE = Schedule("UTC", tuple(Entry(day, "09:00", "17:00") for day in WEEKDAYS))
ALL_DAY_NEW_YORK = Schedule("America/New_York", tuple(Entry(day, "00:00", "24:00") for day in range(7)))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@pytest.mark.parametrize("nine", ["09:00", "09:00:00", time(9), time(9, 0, 0)], ids=repr)
def test_f02_times_of_any_shape_open_at_the_same_instant(nine: Any) -> None:
    schedule = Schedule("UTC", (Entry(1, nine, "17:00:00"),))
    assert schedule.is_open(utc("2024-01-15T09:00:00"))
    assert not schedule.is_open(utc("2024-01-15T17:00:00"))
    assert not schedule.is_open(utc("2024-01-15T17:00:30"))
    assert schedule.deadline(utc("2024-01-15T09:00:00"), hours(1)) == utc("2024-01-15T10:00:00")


def test_f02_friday_afternoon_runs_over_to_monday() -> None:
    assert OFFICE.deadline(utc("2024-01-19T16:30:00"), timedelta(minutes=31)) == utc("2024-01-22T09:01:00")


DESK = """
[tenants.acme]
name = "Acme"
holidays = ["11-24 Founders' Day", "2026-11-25 Moving"]
[tenants.acme.priorities]
high = { name = "High" }
[tenants.acme.schedules.office]
timezone = "UTC"
is_default = true
hours = { mon-fri = ["09:00-17:00"] }
[tenants.acme.policies.gold]
name = "Gold"
is_default = true
targets = { high = { response = "1h", resolution = "8h" } }
"""


def test_f03_holidays_of_both_kinds_come_back_from_the_database_as_dates(app_conn: Connection[Any]) -> None:
    apply(app_conn, Configuration.parse(DESK))
    monday_four = FixedClock(utc("2026-11-23T16:00:00"))
    with run_with_tenant("acme"):
        status = SyncSlaService(clock=monday_four).sync_ticket(
            app_conn, Ticket(ticket_id="T", entered_at=monday_four.now, priority_id="high")
        )
    assert status.response.due_at == utc("2026-11-23T17:00:00")
    assert status.resolution.due_at == utc("2026-11-26T16:00:00"), "Tuesday and Wednesday are holidays"


def test_f03_a_holiday_of_the_wrong_type_is_refused_aloud() -> None:
    with pytest.raises(InvalidSchedule, match="next tuesday"):
        Holiday("next tuesday")
    assert Holiday("2026-12-25").holiday_date == date(2026, 12, 25)


@pytest.mark.parametrize(
    ("day", "length"), [("2024-03-10", 23), ("2024-11-03", 25), ("2024-03-11", 24)], ids=["gap", "repeat", "ordinary"]
)
def test_f04_a_day_has_as_many_hours_as_pass(day: str, length: int) -> None:
    start = ALL_DAY_NEW_YORK.next_open(datetime.fromisoformat(day + "T05:00:00+00:00"))
    start = start.replace(hour=5 if day != "2024-03-11" else 4)
    assert ALL_DAY_NEW_YORK.elapsed(start, start + hours(length)) == hours(length)


def test_f04_deadlines_through_a_transition_count_elapsed_time() -> None:
    spring, autumn = utc("2024-03-10T05:00:00"), utc("2024-11-03T04:00:00")
    assert ALL_DAY_NEW_YORK.deadline(spring, hours(3)) == utc("2024-03-10T08:00:00")
    assert ALL_DAY_NEW_YORK.deadline(autumn, hours(3)) == utc("2024-11-03T07:00:00")


def test_f04_a_skipped_day_does_not_exist() -> None:
    apia = Schedule("Pacific/Apia", tuple(Entry(day, "00:00", "24:00") for day in range(7)))
    start = utc("2011-12-30T09:00:00")
    assert apia.deadline(start, hours(2)) == start + hours(2)
    assert apia.elapsed(start, start + hours(48)) == hours(48)


def test_f04_the_host_zone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    import time as clock

    clock.tzset()
    try:
        fresh = Schedule("Europe/London", tuple(Entry(day, "00:00", "24:00") for day in range(7)))
        assert fresh.elapsed(utc("2024-03-30T00:00:00"), utc("2024-04-01T00:00:00")) == hours(48)
    finally:
        monkeypatch.delenv("TZ")
        clock.tzset()


def test_f39_a_long_shutdown_is_searched_through() -> None:
    shut = tuple(Holiday(date(2024, 12, 20) + timedelta(days=n)) for n in range(19))
    schedule = Schedule("UTC", OFFICE.entries, shut)
    assert schedule.next_open(utc("2024-12-19T18:00:00")) == utc("2025-01-08T09:00:00")


def test_f39_years_of_work_have_a_true_deadline() -> None:
    assert OFFICE.deadline(utc("2024-01-15T09:00:00"), hours(600 * 8)) == utc("2026-05-01T17:00:00")


def test_f39_what_cannot_be_reached_is_an_error_and_no_date() -> None:
    never = Schedule("UTC", (Entry(1, "09:00", "17:00", is_enabled=False),))
    with pytest.raises(NeverOpens):
        never.deadline(utc("2024-01-15T09:00:00"), hours(1))
    with pytest.raises(NeverOpens):
        never.next_open(utc("2024-01-15T09:00:00"))


def test_f40_split_shifts_count_both_halves() -> None:
    split = Schedule(
        "UTC", tuple(Entry(d, s, e) for d in WEEKDAYS for s, e in (("09:00", "12:00"), ("13:00", "17:00")))
    )
    assert split.deadline(utc("2024-01-15T11:30:00"), hours(1)) == utc("2024-01-15T13:30:00")


def test_f40_a_night_shift_runs_into_the_next_day() -> None:
    night = Schedule("UTC", (Entry(1, "22:00", "06:00"),))
    assert night.elapsed(utc("2024-01-15T00:00:00"), utc("2024-01-17T00:00:00")) == hours(8)
    assert night.is_open(utc("2024-01-16T05:59:59"))


@pytest.mark.parametrize(
    ("start", "end"), [("09:00", "09:00"), ("nine", "17:00"), ("25:00", "26:00"), ("24:00", "06:00")]
)
def test_f40_entries_that_make_no_sense_are_refused(start: str, end: str) -> None:
    with pytest.raises(InvalidSchedule):
        Entry(1, start, end)


def test_f47_seconds_and_microseconds_are_exact() -> None:
    assert OFFICE.deadline(utc("2024-01-15T16:59:30"), timedelta(minutes=1)) == utc("2024-01-16T09:00:30")
    assert OFFICE.elapsed(utc("2024-01-15T16:59:30"), utc("2024-01-15T17:00:15")) == timedelta(seconds=30)
    assert OFFICE.elapsed(utc("2024-01-15T09:00:00"), utc("2024-01-15T09:00:00.000001")) == timedelta(microseconds=1)
    closed = utc("2024-01-14T12:00:00")
    assert OFFICE.deadline(closed, timedelta()) == closed, "a zero target is due at the start, open or not"
    assert OFFICE.remaining(closed, closed) == timedelta()


def test_f53_a_call_does_the_same_work_for_an_hour_and_for_years() -> None:
    start = utc("2024-01-15T09:00:00")

    def calls(target: timedelta) -> int:
        """How many functions one call runs; the least of a few, since finalisers of other tests may run in between."""
        OFFICE.deadline(start, target)  # builds what is cached
        return min(_profiled(target) for _ in range(5))

    def _profiled(target: timedelta) -> int:
        count = 0

        def profile(_: Any, event: str, __: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            OFFICE.deadline(start, target)
        finally:
            sys.setprofile(None)
        return count

    assert calls(hours(1)) == calls(hours(8 * 260 * 20))
