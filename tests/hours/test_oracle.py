"""The calendar against an oracle that is slow and obvious, and against the laws it must obey.

The oracle knows no tables: it walks local dates one by one, finds each boundary by reading local
clocks of UTC instants, unites the intervals, and adds them up.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from slaq.hours import Entry, Holiday, NeverOpens, Schedule

ZERO, DAY, SECOND, MICROSECOND = timedelta(), timedelta(days=1), timedelta(seconds=1), timedelta(microseconds=1)
Span = tuple[datetime, datetime]

ALL_ZONES = sorted(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
# A zone and an instant near something odd: skipped days, 30-minute and midnight changes, double summer time.
ODD_TIMES = [
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
    ("Pacific/Enderbury", datetime(1994, 12, 31, 11, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 4, 6, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2024, 10, 5, 15, 30, tzinfo=UTC)),
    ("America/New_York", datetime(2024, 3, 10, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2024, 11, 3, 6, tzinfo=UTC)),
    ("America/Santiago", datetime(2024, 9, 8, 4, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 2, 18, 2, tzinfo=UTC)),
    ("America/Havana", datetime(2024, 11, 3, 5, tzinfo=UTC)),
    ("Europe/London", datetime(1971, 10, 31, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2030, 2, 3, 2, tzinfo=UTC)),
    ("Asia/Gaza", datetime(2040, 10, 26, 23, tzinfo=UTC)),
    ("America/Nuuk", datetime(2050, 3, 27, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2099, 3, 29, 1, tzinfo=UTC)),
    ("America/Caracas", datetime(2007, 12, 9, 7, tzinfo=UTC)),
    ("Africa/Monrovia", datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)),
]


# ── the oracle ──


@cache
def zone_of(name: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data)


def local(zone: ZoneInfo, at: datetime) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def boundary(zone: ZoneInfo, reading: datetime) -> datetime:
    """The first instant with that local reading, or the jump over it. Asks for local clocks only."""
    near = reading.replace(tzinfo=UTC)
    offsets = {
        local(zone, near + timedelta(hours=h)) - (near + timedelta(hours=h)).replace(tzinfo=None)
        for h in range(-27, 28)
    }
    exact = [near - offset for offset in offsets if local(zone, near - offset) == reading]
    if exact:
        return min(exact)
    first, last = (near - max(offsets)).replace(microsecond=0), near - min(offsets) + SECOND
    jump = bisect_left(range((last - first) // SECOND), True, key=lambda s: local(zone, first + s * SECOND) > reading)
    return first + jump * SECOND


def pieces(schedule: Schedule, day: date) -> list[tuple[timedelta, timedelta]]:
    closed = any(
        (h.holiday_date.month, h.holiday_date.day) == (day.month, day.day) if h.is_recurring else h.holiday_date == day
        for h in schedule.holidays
    )
    if closed:
        return []
    today, yesterday = day.isoweekday() % 7, (day.isoweekday() - 1) % 7
    found = []
    for entry in schedule.entries:
        if not entry.is_enabled:
            continue
        overnight = entry.end_time <= entry.start_time
        if entry.day_of_week == today:
            found.append((entry.start_time, DAY if overnight else entry.end_time))
        if entry.day_of_week == yesterday and overnight:
            found.append((ZERO, entry.end_time))
    return found


def open_spans(schedule: Schedule, first: date, last: date) -> list[Span]:
    """The open intervals of the local dates first to last: united, ascending."""
    zone = zone_of(schedule.timezone)
    days = [first + number * DAY for number in range((last - first).days + 1)]
    if schedule.is_24x7:
        return [(datetime(*first.timetuple()[:3], tzinfo=UTC), datetime(*last.timetuple()[:3], tzinfo=UTC))]
    raw = []
    for day in days:
        midnight = datetime(day.year, day.month, day.day)
        raw += [(boundary(zone, midnight + a), boundary(zone, midnight + b)) for a, b in pieces(schedule, day)]
    united: list[Span] = []
    for start, end in sorted(raw):
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        elif start < end:
            united.append((start, end))
    return united


def clipped(spans: list[Span], start: datetime, end: datetime) -> list[Span]:
    return [(max(a, start), min(b, end)) for a, b in spans if max(a, start) < min(b, end)]


def total(spans: list[Span]) -> timedelta:
    return sum((b - a for a, b in spans), ZERO)


def deadline(spans: list[Span], start: datetime, target: timedelta) -> datetime | None:
    if not target:
        return start
    for a, b in spans:
        a = max(a, start)
        if a < b:
            if target <= b - a:
                return a + target
            target -= b - a
    return None


# ── what is drawn ──

times = st.one_of(
    st.sampled_from(["00:00", "00:30", "01:00", "01:30", "02:00", "02:15", "03:00", "06:00", "09:00", "12:00", "13:00",
                     "17:00", "22:00", "23:00", "23:30"]),
    st.times(),
)  # fmt: skip
instants = st.datetimes(datetime(1970, 1, 2), datetime(2100, 12, 31), timezones=st.just(UTC))
targets = st.one_of(
    st.timedeltas(ZERO, 3 * DAY),
    st.integers(0, 4000).map(lambda minutes: timedelta(minutes=minutes)),
    st.just(MICROSECOND),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    weekday, start = draw(st.integers(0, 6)), draw(times)
    end = draw(st.one_of(times, st.just("24:00")))
    enabled = draw(st.sampled_from([True] * 5 + [False]))
    assume(
        not enabled or Entry(weekday, start, end, is_enabled=False).start_time != Entry(0, "00:00", end, False).end_time
    )
    return Entry(weekday, start, end, enabled)


weeks = st.one_of(
    st.lists(entries(), max_size=12),
    st.just([Entry(weekday, "00:00", "24:00") for weekday in range(7)]),
    st.just([Entry(weekday, "22:00", "06:00") for weekday in range(7)]),
    st.just([Entry(weekday, *half) for weekday in range(1, 6) for half in (("09:00", "12:00"), ("13:00", "17:00"))]),
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Schedule, datetime]:
    """A schedule, and an instant to ask about: half of them where the zone does something odd."""
    zone, at = draw(st.one_of(st.sampled_from(ODD_TIMES), st.tuples(st.sampled_from(ALL_ZONES), instants)))
    at += draw(
        st.one_of(st.timedeltas(-3 * DAY, 3 * DAY), st.integers(-96, 96).map(lambda n: n * timedelta(minutes=30)))
    )
    near = st.integers(-4, 6).map(lambda days: (at + days * DAY).date())
    holidays = draw(
        st.lists(st.builds(Holiday, st.one_of(near, st.just(date(2024, 2, 29))), st.booleans()), max_size=5)
    )
    return Schedule(zone, draw(weeks), holidays, draw(st.sampled_from([False] * 9 + [True]))), at


def quickly(examples: int) -> Any:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow, derandomize=True, database=None)


# ── what must hold ──


@quickly(400)
@given(questions(), st.timedeltas(ZERO, 9 * DAY), targets)
def test_agrees_with_the_oracle(question: tuple[Schedule, datetime], length: timedelta, target: timedelta) -> None:
    """elapsed, segments, is_open, next_open and deadline say what the day-by-day walk says."""
    schedule, start = question
    end = start + length
    spans = open_spans(schedule, (start - 2 * DAY).date(), (end + 3 * DAY).date())
    inside = clipped(spans, start, end)

    assert total(inside) == schedule.elapsed(start, end)
    segments = schedule.segments(start, end)
    assert inside == [(s.start, s.end) for s in segments if s.is_open]
    assert any(a <= start < b for a, b in spans) == schedule.is_open(start)
    upcoming = [max(a, start) for a, b in spans if start < b]
    if upcoming:
        assert upcoming[0] == schedule.next_open(start)
    if (due := deadline(spans, start, target)) is not None:
        event("deadline compared")
        assert due == schedule.deadline(start, target)


@quickly(60)
@given(questions(), st.integers(0, 400))
def test_agrees_with_the_oracle_at_every_boundary(question: tuple[Schedule, datetime], before: int) -> None:
    """An opening is open, a closing is closed, and the microseconds before them are not."""
    schedule, at = question
    for opening, closing in open_spans(schedule, (at - 3 * DAY).date(), (at + 3 * DAY).date())[1:-1]:
        assert [True, False] == [schedule.is_open(opening), schedule.is_open(closing)]
        assert [False, True] == [schedule.is_open(opening - MICROSECOND), schedule.is_open(closing - MICROSECOND)]
        assert opening == schedule.next_open(opening - before * MICROSECOND if before < 2 else opening)
        assert closing == schedule.deadline(opening, closing - opening)


@quickly(300)
@given(questions(), targets, targets)
def test_deadline_and_elapsed_are_inverse(question: tuple[Schedule, datetime], one: timedelta, two: timedelta) -> None:
    """The open time up to a deadline is its target; deadlines add up, rise, and come as early as can be."""
    schedule, start = question
    small, large = sorted((one, two))
    try:
        due = schedule.deadline(start, large)
    except NeverOpens:
        return
    assert large == schedule.elapsed(start, due)
    assert schedule.deadline(start, small) <= due
    assert due == schedule.deadline(schedule.deadline(start, small), large - small)
    if large:
        assert large - MICROSECOND == schedule.elapsed(start, due - MICROSECOND)
        assert large == schedule.remaining(due, start) == -schedule.remaining(start, due)


@quickly(300)
@given(questions(), st.lists(st.timedeltas(ZERO, 4000 * DAY), min_size=2, max_size=2))
def test_elapsed_adds_up(question: tuple[Schedule, datetime], lengths: list[timedelta]) -> None:
    """Splitting a span anywhere changes nothing; longer spans have no less open time, nor more than their length."""
    schedule, start = question
    middle, end = (start + length for length in sorted(lengths))
    whole = schedule.elapsed(start, end)
    assert whole == schedule.elapsed(start, middle) + schedule.elapsed(middle, end)
    assert ZERO <= schedule.elapsed(start, middle) <= whole <= end - start
    assert ZERO == schedule.elapsed(end, start)


@quickly(200)
@given(questions(), st.timedeltas(MICROSECOND, 60 * DAY))
def test_segments_partition_the_span(question: tuple[Schedule, datetime], length: timedelta) -> None:
    """Segments cover the span without gap or overlap, alternate, and their open parts are what elapsed."""
    schedule, start = question
    segments = schedule.segments(start, start + length)
    assert [start, *(s.end for s in segments)] == [*(s.start for s in segments), start + length]
    assert all(one.is_open != two.is_open for one, two in itertools.pairwise(segments))
    assert all(s.start < s.end for s in segments)
    assert schedule.elapsed(start, start + length) == sum((s.end - s.start for s in segments if s.is_open), ZERO)


@quickly(200)
@given(questions())
def test_next_open_is_the_first_open_instant(question: tuple[Schedule, datetime]) -> None:
    """The next opening is open, and no time before it is."""
    schedule, at = question
    try:
        opening = schedule.next_open(at)
    except NeverOpens:
        assert ZERO == schedule.elapsed(at, at + 20_000 * DAY)
        return
    assert schedule.is_open(opening)
    assert ZERO == schedule.elapsed(at, opening)
    assert opening >= at


@quickly(60)
@given(st.sampled_from(ODD_TIMES), st.integers(2600, 9900), weeks, targets)
def test_far_years_agree_too(odd: tuple[str, datetime], year: int, week: list[Entry], target: timedelta) -> None:
    """Past the horizon, where answers come from 400 years before, the walk still says the same."""
    schedule, start = Schedule(odd[0], week), odd[1].replace(year=year, day=min(odd[1].day, 28))
    spans = open_spans(schedule, (start - 2 * DAY).date(), (start + 5 * DAY).date())
    assert total(clipped(spans, start, start + 3 * DAY)) == schedule.elapsed(start, start + 3 * DAY)
    if (due := deadline(spans, start, target)) is not None:
        assert due == schedule.deadline(start, target)
