"""The edges of the calendar, one by one."""

from __future__ import annotations

import copy
import pickle
import struct
import subprocess
import sys
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest

from slaq import hours
from slaq.hours import (
    Entry,
    Holiday,
    HoursError,
    InvalidSchedule,
    NaiveDatetime,
    NeverOpens,
    Schedule,
    Segment,
    format_remaining,
)

WEEK = [Entry(day, "09:00", "17:00") for day in range(1, 6)]
ALL_DAY = [Entry(day, "00:00", "24:00") for day in range(7)]
NIGHTS = [Entry(day, "22:00", "06:00") for day in range(7)]
OFFICE = Schedule("America/New_York", WEEK)
ALWAYS = Schedule("America/New_York", [], is_24x7=True)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ── instants in and out ──


@pytest.mark.parametrize(
    "ask",
    [
        lambda naive: OFFICE.deadline(naive, HOUR),
        lambda naive: OFFICE.elapsed(naive, at("2024-01-15T12:00Z")),
        lambda naive: OFFICE.elapsed(at("2024-01-15T12:00Z"), naive),
        lambda naive: OFFICE.remaining(naive, at("2024-01-15T12:00Z")),
        lambda naive: OFFICE.remaining(at("2024-01-15T12:00Z"), naive),
        lambda naive: OFFICE.is_open(naive),
        lambda naive: OFFICE.next_open(naive),
        lambda naive: OFFICE.segments(naive, at("2024-01-15T12:00Z")),
        lambda naive: ALWAYS.deadline(naive, HOUR),
        lambda naive: ALWAYS.is_open(naive),
    ],
)
def test_naive_datetimes_are_refused(ask: Any) -> None:
    """A datetime without an offset names no instant, for any method and also around the clock."""
    with pytest.raises(NaiveDatetime, match=r"datetime\(2024, 1, 15, 10, 0\).* has no UTC offset; give it a tzinfo"):
        ask(datetime(2024, 1, 15, 10))


def test_a_tzinfo_without_an_offset_is_naive() -> None:
    """What counts is the offset, not the presence of a tzinfo."""

    class Unknown(tzinfo):
        def utcoffset(self, dt: datetime | None) -> None:
            return None

    with pytest.raises(NaiveDatetime):
        OFFICE.is_open(datetime(2024, 1, 15, 10, tzinfo=Unknown()))


@pytest.mark.parametrize(
    "start",
    [
        at("2024-01-15T15:00:00Z"),
        datetime(2024, 1, 15, 10, tzinfo=ZoneInfo("America/New_York")),
        datetime(2024, 1, 15, 20, 45, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        pendulum.datetime(2024, 1, 15, 10, tz="America/New_York"),
        pendulum.datetime(2024, 1, 15, 15),
        pendulum.DateTime(2024, 1, 15, 15, tzinfo=UTC),
    ],
)
@pytest.mark.parametrize("target", [timedelta(), HOUR, pendulum.duration(hours=1)])
def test_any_zone_in_and_plain_utc_out(start: datetime, target: timedelta) -> None:
    """Whatever names the instant, the answers are the standard library's own types, in UTC."""
    due = OFFICE.deadline(start, target)
    elapsed = OFFICE.elapsed(start, at("2024-01-15T16:00Z"))
    assert (at("2024-01-15T15:00Z") + target, HOUR) == (due, elapsed)
    for answer in (due, OFFICE.next_open(start), *(s.start for s in OFFICE.segments(start, at("2024-01-16T15:00Z")))):
        assert (datetime, UTC) == (type(answer), answer.tzinfo)
    assert timedelta is type(elapsed) is type(OFFICE.remaining(due, start))


@pytest.mark.parametrize(("fold", "hours_open"), [(0, 2), (1, 1)])
def test_fold_is_respected(fold: int, hours_open: int) -> None:
    """01:00 on the night the clock goes back is two instants, an hour apart."""
    schedule = Schedule("America/New_York", ALL_DAY)
    start = datetime(2024, 11, 3, 1, tzinfo=ZoneInfo("America/New_York"), fold=fold)
    assert hours_open * HOUR == schedule.elapsed(start, at("2024-11-03T07:00Z"))


def test_an_instant_before_year_one_or_after_9999_in_utc_is_refused() -> None:
    """It exists in its zone, but not as an answer."""
    with pytest.raises(HoursError, match="outside the years 1 to 9999 in UTC"):
        OFFICE.is_open(datetime.min.replace(tzinfo=timezone(HOUR)))
    with pytest.raises(HoursError, match="outside the years 1 to 9999 in UTC"):
        OFFICE.is_open(datetime.max.replace(tzinfo=timezone(-HOUR)))


def test_microseconds_are_exact() -> None:
    """Nothing is rounded, at either end."""
    start = at("2024-01-16T21:59:59.999999Z")
    assert at("2024-01-17T14:00:00.000002Z") == OFFICE.deadline(start, timedelta(microseconds=3))
    assert timedelta(microseconds=3) == OFFICE.elapsed(start, at("2024-01-17T14:00:00.000002Z"))


# ── targets ──


def test_zero_target_is_due_at_the_start_even_when_closed() -> None:
    """It needs no opening: not on a Sunday, and not in a schedule that never opens."""
    sunday = at("2024-01-14T10:00Z")
    assert sunday == OFFICE.deadline(sunday, timedelta()) == Schedule("UTC", []).deadline(sunday, timedelta())


def test_negative_target_is_refused() -> None:
    """There is no deadline before the start."""
    with pytest.raises(HoursError, match=r"the target datetime.timedelta\(days=-1\) is negative; pass timedelta\(0\)"):
        OFFICE.deadline(at("2024-01-15T10:00Z"), -DAY)


def test_used_up_exactly_at_closing_is_due_at_closing() -> None:
    """Friday 16:00 and one hour is Friday 17:00, not Monday 09:00; a microsecond more is Monday."""
    friday = at("2024-01-19T21:00Z")
    assert at("2024-01-19T22:00Z") == OFFICE.deadline(friday, HOUR)
    assert at("2024-01-22T14:00:00.000001Z") == OFFICE.deadline(friday, HOUR + timedelta(microseconds=1))


def test_decades_and_centuries() -> None:
    """A target of 100 years of Mondays to Fridays ends where counting its weeks says it does."""
    utc_office = Schedule("UTC", WEEK)
    monday = at("2024-01-15T09:00Z")
    for weeks in (52 * 30, 52 * 100, 52 * 1000, 52 * 7000):
        due = monday + timedelta(weeks=weeks)
        assert due - timedelta(days=2, hours=16) == utc_office.deadline(monday, weeks * timedelta(hours=40))
        assert weeks * timedelta(hours=40) == utc_office.elapsed(monday, due)
    assert monday - timedelta(weeks=52 * 1500) == utc_office.next_open(monday - timedelta(weeks=52 * 1500))


def test_remaining_counts_down_through_zero() -> None:
    """Positive before the deadline, zero at it, negative after it, in open time."""
    due = at("2024-01-15T16:00Z")
    nows = [at("2024-01-15T13:00Z"), at("2024-01-15T15:30Z"), due, at("2024-01-15T23:00Z")]
    assert [2 * HOUR, HOUR / 2, timedelta(), -6 * HOUR] == [OFFICE.remaining(due, now) for now in nows]


# ── schedules that never open ──


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("UTC", []),
        Schedule("UTC", [Entry(day, "00:00", "00:00", is_enabled=False) for day in range(7)]),
        Schedule(
            "Europe/London", ALL_DAY, [Holiday(date(2024, 1, 1) + n * DAY, is_recurring=True) for n in range(366)]
        ),
    ],
)
def test_never_opens(schedule: Schedule) -> None:
    """Without an enabled entry, or with every day a holiday, there is no deadline and no opening."""
    start = at("2024-01-15T09:00Z")
    with pytest.raises(NeverOpens, match=r"has less than 1:00:00 of open time between 2024-01-15T09:00:00\+00:00 and"):
        schedule.deadline(start, HOUR)
    with pytest.raises(NeverOpens, match="does not open between 2024-01-15T.*; enable an entry or remove holidays"):
        schedule.next_open(start)
    assert timedelta() == schedule.elapsed(start, at("9999-01-01T00:00Z"))
    assert [Segment(start, at("9000-01-01T00:00Z"), is_open=False)] == schedule.segments(start, at("9000-01-01T00:00Z"))
    assert not schedule.is_open(start)


@pytest.mark.parametrize("schedule", [OFFICE, ALWAYS, Schedule("Pacific/Kiritimati", ALL_DAY)])
@pytest.mark.parametrize("target", [timedelta.max, timedelta(days=366 * 9999)])
def test_past_year_9999(schedule: Schedule, target: timedelta) -> None:
    """A deadline that no datetime can hold is an error, not an overflow."""
    with pytest.raises(NeverOpens, match="the end of year 9999"):
        schedule.deadline(at("2024-01-15T09:00Z"), target)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
def test_the_ends_of_time(zone: str) -> None:
    """The first and last representable instants are as good as any."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    desk, clock = Schedule(zone, ALL_DAY), Schedule(zone, [], is_24x7=True)
    assert last - first == clock.elapsed(first, last)
    assert last == clock.deadline(first, last - first)
    assert clock.is_open(first) and clock.is_open(last)
    assert last - DAY == desk.deadline(last - 2 * DAY, DAY)
    assert 2 * DAY == desk.elapsed(last - 2 * DAY, last)
    assert timedelta() < desk.elapsed(first, first + 2 * DAY) <= 2 * DAY
    with pytest.raises(NeverOpens):
        OFFICE.next_open(last)


def test_a_holiday_in_the_last_years_leaves_no_room_for_a_cycle() -> None:
    """Then the table itself runs to the end of time."""
    schedule = Schedule("Asia/Tokyo", ALL_DAY, [Holiday("9998-06-01")])
    assert 2 * DAY == schedule.elapsed(at("9998-05-31T00:00Z"), at("9998-06-03T00:00Z"))
    assert schedule.is_open(datetime.max.replace(tzinfo=UTC))


# ── holidays ──


def test_29_february_recurs_in_leap_years_only() -> None:
    """It closes 29 February 2028, and neither 28 February nor 1 March of other years."""
    schedule = Schedule("UTC", ALL_DAY, [Holiday("2024-02-29", is_recurring=True)])
    noons = ["2023-02-28T12:00Z", "2023-03-01T12:00Z", "2024-02-29T12:00Z", "2028-02-29T12:00Z", "2100-02-28T12:00Z"]
    assert [True, True, False, False, True] == [schedule.is_open(at(noon)) for noon in noons]


def test_a_one_off_holiday_closes_its_year_only() -> None:
    """Christmas 2024 says nothing about 2025; a recurring one also closes earlier years."""
    once = Schedule("UTC", ALL_DAY, [Holiday(date(2024, 12, 25))])
    yearly = Schedule("UTC", ALL_DAY, [Holiday(date(2024, 12, 25), is_recurring=True)])
    noons = [at(f"{year}-12-25T12:00Z") for year in (2023, 2024, 2025, 3025)]
    assert [True, False, True, True] == [once.is_open(noon) for noon in noons]
    assert [False] * 4 == [yearly.is_open(noon) for noon in noons]


def test_a_holiday_is_a_local_date() -> None:
    """1 January in Auckland begins on 31 December UTC."""
    schedule = Schedule("Pacific/Auckland", ALL_DAY, [Holiday("2024-01-01")])
    closed = Segment(at("2023-12-31T11:00Z"), at("2024-01-01T11:00Z"), is_open=False)
    assert closed in schedule.segments(at("2023-12-30T00:00Z"), at("2024-01-03T00:00Z"))


def test_a_night_shift_is_cut_by_the_holiday_of_its_own_date() -> None:
    """The night of 24 December stops at midnight; the night of 25 December begins at midnight."""
    schedule = Schedule("UTC", NIGHTS, [Holiday("2024-12-25")])
    opened = [s for s in schedule.segments(at("2024-12-24T12:00Z"), at("2024-12-26T12:00Z")) if s.is_open]
    assert [
        Segment(at("2024-12-24T22:00Z"), at("2024-12-25T00:00Z"), is_open=True),
        Segment(at("2024-12-26T00:00Z"), at("2024-12-26T06:00Z"), is_open=True),
    ] == opened


# ── clocks that jump ──


def test_apia_skipped_a_day() -> None:
    """30 December 2011 did not happen in Apia: no open time, and the next opening is on the 31st."""
    schedule = Schedule("Pacific/Apia", [Entry(day, "09:00", "17:00") for day in range(7)])
    thursday_closing = at("2011-12-30T03:00Z")
    assert at("2011-12-30T19:00Z") == schedule.next_open(thursday_closing)
    assert 8 * HOUR == schedule.elapsed(thursday_closing, thursday_closing + DAY)
    around_the_clock = Schedule("Pacific/Apia", ALL_DAY, [Holiday("2011-12-30")])
    assert 2 * DAY == around_the_clock.elapsed(at("2011-12-29T10:00Z"), at("2011-12-31T10:00Z"))


def test_kwajalein_skipped_a_day() -> None:
    """21 August 1993 did not happen there: Friday's closing and Sunday's opening are one night apart."""
    schedule = Schedule("Pacific/Kwajalein", [Entry(day, "00:00", "24:00") for day in (5, 6)])
    assert DAY == schedule.elapsed(at("1993-08-19T00:00Z"), at("1993-08-24T00:00Z"))


@pytest.mark.parametrize(("opens", "length"), [("2024-04-06T13:00Z", 24.5), ("2024-10-05T13:30Z", 23.5)])
def test_lord_howe_changes_by_half_an_hour(opens: str, length: float) -> None:
    """Its Sundays of change have 24.5 and 23.5 hours."""
    schedule = Schedule("Australia/Lord_Howe", [Entry(0, "00:00", "24:00")])
    assert at(opens) == schedule.next_open(at(opens) - DAY)
    assert at(opens) + length * HOUR == schedule.segments(at(opens), at(opens) + 3 * DAY)[0].end


def test_a_boundary_inside_a_gap_is_the_transition() -> None:
    """02:30 does not exist on 10 March 2024 in New York: 02:30-04:00 opens at the jump, 07:00Z."""
    opens_inside = Schedule("America/New_York", [Entry(0, "02:30:00.25", "04:00")])
    closes_inside = Schedule("America/New_York", [Entry(0, "01:00", "02:30")])
    inside = Schedule("America/New_York", [Entry(0, "02:10", "02:50")])
    sunday = at("2024-03-10T05:00Z")
    assert at("2024-03-10T07:00Z") == opens_inside.next_open(sunday)
    assert HOUR == closes_inside.elapsed(sunday, sunday + DAY)
    assert timedelta() == inside.elapsed(sunday, sunday + DAY)


def test_an_ambiguous_boundary_is_its_first_occurrence() -> None:
    """01:30 comes twice on 3 November 2024 in New York: the first closes, and the second opens nothing."""
    closes = Schedule("America/New_York", [Entry(0, "00:00", "01:30")])
    opens = Schedule("America/New_York", [Entry(0, "01:30", "03:00")])
    sunday = at("2024-11-03T04:00Z")
    assert HOUR * 1.5 == closes.elapsed(sunday, sunday + DAY)
    assert HOUR * 2.5 == opens.elapsed(sunday, sunday + DAY)
    assert at("2024-11-03T05:30Z") == opens.next_open(sunday)


def test_midnight_at_24_00_is_the_next_days() -> None:
    """Santiago's clock jumps over 00:00 on 8 September 2024: Saturday's 24:00 is that jump."""
    schedule = Schedule("America/Santiago", [Entry(6, "22:00", "24:00")])
    segment = next(s for s in schedule.segments(at("2024-09-07T12:00Z"), at("2024-09-09T00:00Z")) if s.is_open)
    assert Segment(at("2024-09-08T02:00Z"), at("2024-09-08T04:00Z"), is_open=True) == segment


def test_far_future_summer_time() -> None:
    """The rule goes on past the last tabulated year, and past the horizon: 09:00 in July is 13:00Z in 4024 too."""
    for year in (2038, 2099, 2499, 2500, 2501, 4024, 9998):
        assert 13 == OFFICE.next_open(at(f"{year}-07-01T00:00Z")).hour
        assert 14 == OFFICE.next_open(at(f"{year}-01-10T00:00Z")).hour


# ── shapes of a week ──


def test_touching_and_overlapping_entries_are_one_interval() -> None:
    """Merged within a day, over midnight, over the week's end, and over the seams of the table."""
    entries = [*ALL_DAY, Entry(1, "09:00", "17:00"), Entry(2, "16:00", "20:00"), *NIGHTS]
    start, end = at("1999-06-01T00:00Z"), at("2044-06-01T00:00Z")
    assert [Segment(start, end, is_open=True)] == Schedule("Europe/London", entries).segments(start, end)
    end = at("3044-06-01T00:00Z")
    assert [Segment(start, end, is_open=True)] == Schedule("Europe/London", entries).segments(start, end)


def test_segments_of_an_empty_or_reversed_span() -> None:
    """Nothing is covered by nothing."""
    start = at("2024-01-15T09:00Z")
    assert (
        []
        == OFFICE.segments(start, start)
        == OFFICE.segments(start, start - DAY)
        == Schedule("UTC", []).segments(start, start)
    )


def test_a_night_shift_on_saturday_runs_into_sunday() -> None:
    """The week is a circle; an end of 00:00 is midnight."""
    schedule = Schedule("UTC", [Entry(6, "22:00", "02:00"), Entry(3, "20:00", "00:00")])
    week = (at("2024-01-14T12:00Z"), at("2024-01-21T12:00Z"))
    spans = [(s.start.isoformat()[8:16], s.end.isoformat()[8:16]) for s in schedule.segments(*week) if s.is_open]
    assert [("17T20:00", "18T00:00"), ("20T22:00", "21T02:00")] == spans


def test_24x7_ignores_entries_and_holidays() -> None:
    """Its minutes are the clock's."""
    schedule = Schedule("Europe/London", WEEK, [Holiday("2024-12-25")], is_24x7=True)
    start = at("2024-12-24T12:00Z")
    assert start + 3 * DAY == schedule.deadline(start, 3 * DAY)
    assert start == schedule.next_open(start)
    assert [Segment(start, start + DAY, is_open=True)] == schedule.segments(start, start + DAY)


# ── records ──


@pytest.mark.parametrize("given", ["09:30", "09:30:00", "09:30:00.000000", time(9, 30), timedelta(hours=9, minutes=30)])
def test_times_of_day(given: str | time | timedelta) -> None:
    """However it is written, it is the time since midnight."""
    assert timedelta(hours=9, minutes=30) == Entry(1, given, "17:00").start_time
    assert timedelta(microseconds=500_000) == Entry(1, "00:00:00.5", "24:00:00").start_time
    assert DAY == Entry(1, "09:00", "24:00").end_time


@pytest.mark.parametrize(
    "given", ["9:00", "24:01", "25:00", "09:60", "", "09:00Z", "٠٩:٠٠", None, 9, time(9, tzinfo=UTC), 2 * DAY]
)
def test_bad_times_are_named(given: Any) -> None:
    """The message holds the value, and how to write a good one."""
    with pytest.raises(InvalidSchedule, match="is not a time of day; write '09:00'") as raised:
        Entry(1, given, "17:00")
    assert repr(given) in str(raised.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Entry(7, "09:00", "17:00"), r"day_of_week must be 0 \(Sunday\) to 6 \(Saturday\), not 7"),
        (lambda: Entry(-1, "09:00", "17:00"), "day_of_week .* not -1"),
        (lambda: Entry(True, "09:00", "17:00"), "day_of_week .* not True"),
        (lambda: Entry("1", "09:00", "17:00"), "day_of_week .* not '1'"),  # pyright: ignore[reportArgumentType]
        (lambda: Entry(1, "09:00", "09:00"), "both 9:00:00; write '00:00' to '24:00' for a whole day, or disable"),
        (lambda: Entry(1, "24:00", "09:00"), "start_time cannot be '24:00'; write '00:00' of the next day"),
        (lambda: Entry(1, "09:00", "17:00", "no"), "is_enabled must be True or False, not 'no'"),  # pyright: ignore[reportArgumentType]
        (lambda: Holiday("25.12.2024"), "holiday_date '25.12.2024' is not a calendar date; write '2024-12-25'"),
        (lambda: Holiday("2023-02-29"), "holiday_date '2023-02-29' is not a calendar date"),
        (lambda: Holiday(datetime(2024, 12, 25)), "is not a calendar date"),
        (lambda: Holiday("2024-12-25", 1), "is_recurring must be True or False, not 1"),  # pyright: ignore[reportArgumentType]
        (lambda: Schedule("UTC", [("1", "09:00", "17:00")]), r"'09:00'.* is no Entry; make one of each row"),  # pyright: ignore[reportArgumentType]
        (lambda: Schedule("UTC", WEEK, [date(2024, 12, 25)]), r"date\(2024, 12, 25\)\] is no Holiday"),  # pyright: ignore[reportArgumentType]
        (lambda: Schedule("UTC", WEEK, is_24x7=None), "is_24x7 must be True or False, not None"),  # pyright: ignore[reportArgumentType]
    ],
)  # fmt: skip
def test_bad_records_are_refused(make: Any, message: str) -> None:
    """What was wrong, with which value, and what to do."""
    with pytest.raises(InvalidSchedule, match=message):
        make()


@pytest.mark.parametrize(
    "name",
    ["Europe/Londn", "", "../zones", "/etc/localtime", "Europe/../UTC", "Europe", "zone.tab", "UTC\0", None, 5, "utc "],
)
def test_bad_zone_names_are_refused(name: Any) -> None:
    """Only names of the tzdata package are looked up, so none can lead out of it; 24x7 is no excuse."""
    with pytest.raises(InvalidSchedule, match="is not an IANA name; use one such as 'Europe/London'") as raised:
        Schedule(name, [], is_24x7=True)
    assert repr(name) in str(raised.value)


def test_records_are_values() -> None:
    """Frozen, hashable, equal by content, and safe to copy and pickle."""
    one, two = (Schedule("Europe/London", list(WEEK), iter([Holiday("2024-12-25")])) for _ in range(2))  # pyright: ignore[reportArgumentType]
    assert one == two and hash(one) == hash(two) and one is not two
    due = one.deadline(at("2024-12-24T16:00Z"), 2 * HOUR)
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert one == twin and due == twin.deadline(at("2024-12-24T16:00Z"), 2 * HOUR)
    with pytest.raises(AttributeError):
        one.timezone = "UTC"  # pyright: ignore[reportAttributeAccessIssue]
    assert "2024-12-25" not in repr(one._timeline)


def test_schedules_with_equal_rules_share_their_timeline() -> None:
    """Order, names, disabled and overlapping entries make no difference."""
    plain = Schedule("UTC", WEEK, [Holiday("2024-12-25", holiday_name="Christmas")])
    odd = Schedule(
        "UTC", [Entry(0, "01:00", "01:00", False), Entry(2, "10:00", "11:00"), *WEEK[::-1]], [Holiday("2024-12-25")]
    )
    assert plain != odd
    assert plain._timeline is odd._timeline


def test_every_zone_of_tzdata_loads() -> None:
    """Each name can be a schedule's zone."""
    for name in files("tzdata").joinpath("zones").read_text(encoding="utf-8").split():
        assert Schedule(name, WEEK).next_open(at("2090-01-03T00:00Z")) > at("2090-01-01T00:00Z")


def test_zones_come_from_the_tzdata_package() -> None:
    """Not from the host, whatever PYTHONTZPATH says, and without touching zoneinfo's own settings."""
    program = (
        "import zoneinfo; before = zoneinfo.TZPATH\n"
        "import datetime as d\n"
        "from slaq.hours import Entry, Schedule\n"
        "s = Schedule('America/New_York', [Entry(n, '09:00', '17:00') for n in range(7)])\n"
        "print(s.next_open(d.datetime(2024, 7, 1, tzinfo=d.UTC)).hour, before == zoneinfo.TZPATH)\n"
    )
    for path in ("/nonexistent", ""):
        done = subprocess.run([sys.executable, "-c", program], env={"PYTHONTZPATH": path, "PYTHONPATH": ":".join(sys.path)},
                              capture_output=True, text=True, check=True)  # fmt: skip
        assert "13 True" == done.stdout.strip()
    assert ZoneInfo("America/New_York") is zoneinfo.ZoneInfo("America/New_York")
    assert hours._zone("America/New_York") is not ZoneInfo("America/New_York")


def test_tzdata_tabulates_no_transition_past_the_regular_years() -> None:
    """The horizon supposes that from 2100 on each zone follows a yearly rule."""
    limit = datetime(hours._REGULAR_FROM, 1, 1, tzinfo=UTC).timestamp()
    for name in files("tzdata").joinpath("zones").read_text(encoding="utf-8").split():
        data = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
        utc, std, leap, transitions, types, chars = struct.unpack(">6l", data[20:44])
        second = 44 + transitions * 5 + types * 6 + chars + leap * 8 + std + utc
        (count,) = struct.unpack(">l", data[second + 32 : second + 36])
        assert max(struct.unpack_from(f">{count}q", data, second + 44), default=0) < limit, name


def test_threads_may_grow_one_timeline_together() -> None:
    """Eight threads asking all over five centuries get what one gets."""
    questions = [(at(f"{1900 + (n * 37) % 500}-03-05T10:00Z"), timedelta(hours=(n * 101) % 9000)) for n in range(400)]
    alone = [Schedule("Europe/Paris", WEEK).deadline(*question) for question in questions]
    hours._timeline_of.cache_clear()
    shared = Schedule("Europe/Paris", WEEK)
    with ThreadPoolExecutor(8) as pool:
        assert alone == list(pool.map(lambda question: shared.deadline(*question), questions))


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "0m"), (59, "59m"), (60, "1h"), (61, "1h 1m"), (1439, "23h 59m"), (1440, "1d"), (1499, "1d"), (1500, "1d 1h"),
     (-1, "-1m"), (-60, "-1h"), (-1441, "-1d"), (527_040, "366d")],
)  # fmt: skip
def test_format_remaining(minutes: int, text: str) -> None:
    """A day is 1440 minutes, and from one day on minutes are dropped."""
    assert text == format_remaining(minutes)
