"""Business time: when a helpdesk is open, and what a promise in open time means on the clock.

A :class:`Schedule` is read as a meter that runs while the desk is open and stands still while it is
closed. ``elapsed`` is the difference of two readings; ``deadline`` is the instant at which the meter
has advanced by the target. Readings at the openings are kept in a table that grows by whole years as
it is asked about, so that a call costs two binary searches whatever it spans.

All instants are aware datetimes, any zone in and UTC out; all durations are exact timedeltas.

    HoursError              anything below
    ├── InvalidSchedule     an entry, a holiday or a zone is wrong
    ├── NaiveDatetime       an instant has no UTC offset
    └── NeverOpens          the schedule does not open (again), or not often enough
"""

from __future__ import annotations

import calendar
import re
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from itertools import accumulate
from operator import sub
from typing import NamedTuple, final
from zoneinfo import ZoneInfo

from attrs import Attribute, field, frozen

__all__ = [
    "Entry",
    "Holiday",
    "HoursError",
    "InvalidSchedule",
    "NaiveDatetime",
    "NeverOpens",
    "Schedule",
    "Segment",
    "format_remaining",
]

_ZERO = timedelta(0)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN = datetime.min.replace(tzinfo=UTC)
_MAX = datetime.max.replace(tzinfo=UTC)

# 400 Gregorian years are a whole number of weeks. Once a zone has run out of tabulated transitions
# (tzdata's last is in 2087) and follows a yearly rule, its schedules repeat with that period.
_CYCLE = timedelta(days=146_097)
_CYCLE_YEARS = 400
_REGULAR_FROM = 2100


class HoursError(ValueError):
    """A question about business time that has no answer."""


class InvalidSchedule(HoursError):
    """A schedule, entry or holiday that cannot be understood."""


class NaiveDatetime(HoursError):
    """A datetime without a UTC offset, which names no instant."""


class NeverOpens(HoursError):
    """The schedule has not enough open time left before the end of year 9999."""


# ── what a schedule is made of ──

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,6}))?)?")


def _time_of_day(value: time | timedelta | str) -> timedelta:
    """The wall-clock time since local midnight: 0 to 24 hours, both included."""
    if isinstance(value, timedelta) and _ZERO <= value <= _DAY:
        return value
    if isinstance(value, time) and value.tzinfo is None:
        value = value.isoformat()
    if value in ("24:00", "24:00:00"):
        return _DAY
    if isinstance(value, str) and (match := _CLOCK.fullmatch(value)):
        hours, minutes, seconds, fraction = (part or "0" for part in match.groups())
        whole = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
        return whole + timedelta(microseconds=int(fraction.ljust(6, "0")))
    raise InvalidSchedule(f"{value!r} is not a time of day; write '09:00', '09:00:30', or '24:00' for an end")


def _calendar_date(value: date | str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise InvalidSchedule(f"holiday_date {value!r} is not a calendar date; write '2024-12-25' or pass a datetime.date")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise InvalidSchedule(problem)


def _is_bool(_: object, attribute: Attribute[bool], value: object) -> None:
    _require(isinstance(value, bool), f"{attribute.name} must be True or False, not {value!r}")


@frozen
class Entry:
    """Opening hours that begin on one local weekday, 0 = Sunday to 6 = Saturday.

    ``start_time`` and ``end_time`` are local wall-clock times (``"09:00"``, ``datetime.time``, or
    ``"24:00"`` as an end), kept as the timedelta since midnight. An end at or before the start runs
    into the next day. Raises InvalidSchedule.
    """

    day_of_week: int
    start_time: timedelta = field(converter=_time_of_day)
    end_time: timedelta = field(converter=_time_of_day)
    is_enabled: bool = field(default=True, validator=_is_bool)

    def __attrs_post_init__(self) -> None:
        weekday, start = self.day_of_week, self.start_time
        known = type(weekday) is int and weekday in range(7)
        _require(known, f"day_of_week must be 0 (Sunday) to 6 (Saturday), not {weekday!r}")
        _require(start < _DAY, "start_time cannot be '24:00'; write '00:00' of the next day")
        _require(
            start != self.end_time or not self.is_enabled,
            f"start_time and end_time are both {start}; write '00:00' to '24:00' for a whole day, or disable the entry",
        )

    def pieces(self) -> Iterator[tuple[int, timedelta, timedelta]]:
        """The entry as (weekday, start, end) within single days: two of them for a night shift."""
        if self.start_time < self.end_time:
            yield self.day_of_week, self.start_time, self.end_time
        else:
            yield self.day_of_week, self.start_time, _DAY
            yield (self.day_of_week + 1) % 7, _ZERO, self.end_time


@frozen
class Holiday:
    """A local calendar date, closed from 00:00 to 24:00; every year when recurring.

    A recurring 29 February closes only leap days. Raises InvalidSchedule.
    """

    holiday_date: date = field(converter=_calendar_date)
    is_recurring: bool = field(default=False, validator=_is_bool)
    holiday_name: str = ""


@frozen
class Segment:
    """A span [start, end) that is open or closed throughout."""

    start: datetime
    end: datetime
    is_open: bool


# ── from local rules to instants ──


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache  # as many as tzdata has names
def _zone(name: str) -> ZoneInfo:
    """The zone from the tzdata package, so that all hosts agree, whatever their own data."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def _instant(zone: ZoneInfo, midnight: datetime, since: timedelta) -> datetime:
    """The first instant at which the local clock reads ``midnight + since`` or later.

    ``midnight`` is a local reading labelled UTC: arithmetic on it is the wall clock's.
    """
    try:
        wall = midnight + since
        before = zone.utcoffset(wall) or _ZERO
        after = zone.utcoffset(wall.replace(fold=1)) or _ZERO
        if before < after:
            return _transition(zone, wall, before, after)
        return wall - before
    except OverflowError:  # a zone's offset leads out of the years 1 to 9999
        return _MIN if midnight.year == 1 else _MAX


def _transition(zone: ZoneInfo, skipped: datetime, before: timedelta, after: timedelta) -> datetime:
    """The instant at which the local clock jumps over the reading ``skipped``."""
    earliest = skipped.replace(microsecond=0) - after

    def offset(seconds: int) -> timedelta:
        return (earliest + timedelta(seconds=seconds)).astimezone(zone).utcoffset() or _ZERO

    return earliest + timedelta(seconds=bisect_left(range((after - before) // _SECOND), after, key=offset))


_Week = tuple[tuple[tuple[timedelta, timedelta], ...], ...]
_ALWAYS: _Week = (((_ZERO, _DAY),),) * 7


class _Rules(NamedTuple):
    """What decides when a schedule is open, and nothing else: equal rules share one timeline."""

    timezone: str
    week: _Week
    holidays: frozenset[date]
    recurring: frozenset[tuple[int, int]]


def _week(entries: Iterable[Entry]) -> _Week:
    """The disjoint, ascending open pieces of each local weekday, Sunday first."""
    days: list[list[tuple[timedelta, timedelta]]] = [[] for _ in range(7)]
    pieces = (piece for entry in entries if entry.is_enabled for piece in entry.pieces())
    for weekday, start, end in sorted(pieces):
        day = days[weekday]
        if day and start <= day[-1][1]:
            day[-1] = day[-1][0], max(end, day[-1][1])
        elif start < end:
            day.append((start, end))
    return tuple(map(tuple, days))


def _open_spans(rules: _Rules, years: range) -> tuple[list[datetime], list[datetime]]:
    """The openings and closings within the local ``years``, no closing equal to the next opening."""
    zone = _zone(rules.timezone)
    closed_days = _closed_days(rules, years)
    openings: list[datetime] = []
    closings: list[datetime] = []
    for day in range(date(years.start, 1, 1).toordinal(), date(years[-1], 12, 31).toordinal() + 1):
        pieces = rules.week[day % 7]  # ordinal 7 was a Sunday
        if not pieces or day in closed_days:
            continue
        midnight = _MIN + timedelta(day - 1)
        for start, end in pieces:
            opening, closing = _instant(zone, midnight, start), _instant(zone, midnight, end)
            if openings and opening == closings[-1]:
                closings[-1] = closing
            elif opening < closing:  # else the clock jumped over the whole piece
                openings.append(opening)
                closings.append(closing)
    return openings, closings


def _closed_days(rules: _Rules, years: range) -> set[int]:
    """The ordinals of the holidays: all one-off ones, and those that recur in ``years``."""
    ordinals = {day.toordinal() for day in rules.holidays}
    for year in years:
        leap = calendar.isleap(year)
        ordinals.update(date(year, *day).toordinal() for day in rules.recurring if leap or day != (2, 29))
    return ordinals


def _new_year(timezone: str, year: int) -> datetime:
    if year > date.max.year:
        return _MAX
    return _MIN if year == 1 else _instant(_zone(timezone), datetime(year, 1, 1, tzinfo=UTC), _ZERO)


# ── the meter ──


class _Table(NamedTuple):
    """The meter's readings over some local years, which begin at ``since`` and end at ``until``.

    The desk is open in [openings[i], openings[i] + readings[i + 1] - readings[i]). The first and the
    last of these are empty: they stand for the two ends of the table.
    """

    years: range
    since: datetime
    until: datetime
    openings: tuple[datetime, ...]
    readings: tuple[timedelta, ...]
    total: timedelta

    @classmethod
    def build(cls, rules: _Rules, years: range) -> _Table:
        since, until = (_new_year(rules.timezone, year) for year in (years.start, years.stop))
        openings, closings = _open_spans(rules, years)
        readings = tuple(accumulate(map(sub, closings, openings), initial=_ZERO))
        total = readings[-1]
        return cls(years, since, until, (since, *openings, until), (_ZERO, *readings, total), total)

    def reading(self, at: datetime) -> timedelta:
        """The open time from ``since`` to ``at``; both ends of the table are allowed."""
        i = bisect_right(self.openings, at) - 1
        reading = self.readings[i] + (at - self.openings[i])
        closed = self.readings[i + 1]
        return min(closed, reading)

    def reached(self, reading: timedelta) -> datetime:
        """The instant at which the meter first shows ``reading``, which is above 0, at most ``total``."""
        i = bisect_left(self.readings, reading) - 1
        return self.openings[i] + (reading - self.readings[i])

    def is_open(self, at: datetime) -> bool:
        i = bisect_right(self.openings, at) - 1
        return at - self.openings[i] < self.readings[i + 1] - self.readings[i]

    def spans(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The open spans of [start, end), clipped to it."""
        for i in range(bisect_right(self.openings, start) - 1, bisect_left(self.openings, end)):
            opening = max(start, self.openings[i])
            closing = min(end, self.openings[i] + (self.readings[i + 1] - self.readings[i]))
            if opening < closing:
                yield opening, closing


@final
class _Timeline:
    """The meter of one set of rules: a table that grows, up to a horizon past which the calendar repeats.

    Callers look into ``table`` first; the methods are for what it does not cover. Threads may share a
    timeline: a table never changes, it is replaced under the lock.
    """

    __slots__ = ("_horizon", "_lock", "_rules", "_stop", "table")

    def __init__(self, rules: _Rules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._stop = _CYCLE_YEARS + max([_REGULAR_FROM, *(day.year + 1 for day in rules.holidays)])
        self._stop = min(self._stop, date.max.year + 1)
        self._horizon = _new_year(rules.timezone, self._stop)
        self.table = _Table(range(0), _MAX, _MIN, (), (), _ZERO)  # covers nothing

    def __reduce__(self) -> tuple[object, tuple[_Rules]]:
        return _timeline_of, (self._rules,)  # it is a cache: a copy starts anew

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        shift = self._cycles_beyond(start) * _CYCLE
        start, end = start - shift, end - shift
        cycles = self._cycles_beyond(end)
        table = self._covering(start, min(end, self._horizon))
        return table.reading(end - cycles * _CYCLE) - table.reading(start) + cycles * self._gain(table)

    def deadline(self, start: datetime, target: timedelta) -> datetime:
        """The instant, or OverflowError when it lies past year 9999, or the desk never opens again."""
        shift = self._cycles_beyond(start) * _CYCLE
        start -= shift
        table = self._covering(start, start)
        while table.reading(start) + target > table.total and table.years.stop < self._stop:
            table = self._covering(start, table.until)
        goal = table.reading(start) + target
        if goal <= table.total:
            return table.reached(goal) + shift
        if not (gain := self._gain(table)):
            raise OverflowError
        cycles = -((table.total - goal) // gain)
        return table.reached(goal - cycles * gain) + (cycles * _CYCLE + shift)

    def is_open(self, at: datetime) -> bool:
        at -= self._cycles_beyond(at) * _CYCLE
        return self._covering(at, at).is_open(at)

    def spans(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The open spans of [start, end), clipped to it; one may begin where the last one ended."""
        while start < end:
            shift = self._cycles_beyond(start) * _CYCLE
            until = min(end - shift, self._horizon)
            for opening, closing in self._covering(start - shift, until).spans(start - shift, until):
                yield opening + shift, closing + shift
            start = until + shift

    def _cycles_beyond(self, at: datetime) -> int:
        """How many times 400 years lead back from ``at`` to the time before the horizon."""
        return (at - self._horizon) // _CYCLE + 1 if at >= self._horizon else 0

    def _gain(self, table: _Table) -> timedelta:
        """The open time of 400 years past the horizon, from a table that ends there."""
        return table.total - table.reading(self._horizon - _CYCLE)

    def _covering(self, start: datetime, end: datetime) -> _Table:
        """A table of [start, end] and a little more, unless it ends at the horizon."""
        with self._lock:
            table = self.table
            if start < table.since or (end >= table.until and table.years.stop < self._stop):
                table = self.table = _Table.build(self._rules, self._years(start, end))
            return table

    def _years(self, start: datetime, end: datetime) -> range:
        """The years to build for these instants. A table at least doubles, so that growth stays cheap."""
        first, stop = start.year - 1, end.year + 2
        if known := self.table.years:
            first = min(first, known.start - len(known)) if first < known.start else known.start
            stop = max(stop, known.stop + len(known)) if stop > known.stop else known.stop
        if stop >= self._stop:
            stop, first = self._stop, min(first, self._stop - _CYCLE_YEARS - 1)
        return range(max(first, 1), stop)


@lru_cache(maxsize=256)
def _timeline_of(rules: _Rules) -> _Timeline:
    return _Timeline(rules)


# ── what callers see ──


def _utc(at: datetime) -> datetime:
    if type(at) is datetime and at.tzinfo is UTC:
        return at
    if at.utcoffset() is None:
        raise NaiveDatetime(f"{at!r} has no UTC offset; give it a tzinfo, such as datetime.UTC")
    try:
        # not astimezone(): subclasses such as pendulum's would come back as themselves
        return _EPOCH + datetime.__sub__(at, _EPOCH)
    except OverflowError as error:
        raise HoursError(f"{at!r} lies outside the years 1 to 9999 in UTC") from error


@frozen
class Schedule:
    """When a desk is open: weekly entries and holidays on the wall clock of ``timezone``.

    Intervals are half-open, and merged where they touch or overlap. A local boundary that the clock
    skips is the instant of the jump; one that it reads twice is the first of the two. A schedule that
    ``is_24x7`` is always open, whatever its entries and holidays. Equal schedules share what was
    computed for them. Raises InvalidSchedule.

    The methods take aware datetimes of any zone and return UTC; they raise NaiveDatetime.
    """

    timezone: str
    entries: tuple[Entry, ...] = field(converter=tuple[Entry, ...])
    holidays: tuple[Holiday, ...] = field(default=(), converter=tuple[Holiday, ...])
    is_24x7: bool = field(default=False, validator=_is_bool)
    _timeline: _Timeline = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        zone = self.timezone
        _require(
            zone in _zone_names(), f"timezone {zone!r} is not an IANA name; use one such as 'Europe/London' or 'UTC'"
        )
        for kind, members in ((Entry, self.entries), (Holiday, self.holidays)):
            strays = [each for each in members if type(each) is not kind]
            _require(not strays, f"{strays[:1]} is no {kind.__name__}; make one of each row")
        object.__setattr__(self, "_timeline", _timeline_of(self._rules()))

    def _rules(self) -> _Rules:
        if self.is_24x7:
            return _Rules("UTC", _ALWAYS, frozenset(), frozenset())
        dates = [(holiday.holiday_date, holiday.is_recurring) for holiday in self.holidays]
        return _Rules(
            self.timezone,
            _week(self.entries),
            frozenset(day for day, recurring in dates if not recurring),
            frozenset((day.month, day.day) for day, recurring in dates if recurring),
        )

    def deadline(self, start: datetime, target: timedelta) -> datetime:
        """The instant at which ``target`` of open time has passed since ``start``.

        A target used up exactly at closing is due at closing; a zero target is due at ``start``, even
        when closed. Raises NeverOpens when there is not that much open time before year 10000.
        """
        start = _utc(start)
        if type(target) is not timedelta:  # pendulum's would turn the answer into one of its own
            target = timedelta.__pos__(target)
        if target <= _ZERO:
            if target < _ZERO:
                raise HoursError(f"the target {target!r} is negative; pass timedelta(0) or more")
            return start
        table = self._timeline.table
        try:
            if table.since <= start <= table.until:
                goal = table.reading(start) + target
                if goal <= table.total:
                    return table.reached(goal)
            return self._timeline.deadline(start, target)
        except OverflowError:
            lacking = "does not open" if target == _MICROSECOND else f"has less than {target} of open time"
            period = f"between {start.isoformat()} and the end of year 9999"
            raise NeverOpens(
                f"the schedule in {self.timezone} {lacking} {period}; enable an entry or remove holidays"
            ) from None

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """The open time in [start, end); zero when ``end`` is not after ``start``."""
        start, end = _utc(start), _utc(end)
        if end <= start:
            return _ZERO
        table = self._timeline.table
        if table.since <= start and end <= table.until:
            return table.reading(end) - table.reading(start)
        return self._timeline.elapsed(start, end)

    def remaining(self, deadline: datetime, now: datetime) -> timedelta:
        """The open time from ``now`` to ``deadline``; after it, minus the open time since."""
        deadline, now = _utc(deadline), _utc(now)
        return self.elapsed(now, deadline) if now <= deadline else -self.elapsed(deadline, now)

    def is_open(self, at: datetime) -> bool:
        """Whether the desk is open at that instant; at closing it no longer is."""
        at = _utc(at)
        table = self._timeline.table
        return (table if table.since <= at < table.until else self._timeline).is_open(at)

    def next_open(self, at: datetime) -> datetime:
        """``at`` itself when open, else the next opening. Raises NeverOpens."""
        at = _utc(at)
        # the first open microsecond ends one microsecond after the opening
        return at if self.is_open(at) else self.deadline(at, _MICROSECOND) - _MICROSECOND

    def segments(self, start: datetime, end: datetime) -> list[Segment]:
        """The maximal open and closed spans that make up [start, end), in order."""
        start, end = _utc(start), _utc(end)
        segments: list[Segment] = []
        for opening, closing in self._timeline.spans(start, end):
            open_from = opening
            if segments and segments[-1].end == opening:
                open_from = segments.pop().start
            elif start < opening:
                segments.append(Segment(segments[-1].end if segments else start, opening, is_open=False))
            segments.append(Segment(open_from, closing, is_open=True))
        closed_from = segments[-1].end if segments else start
        if closed_from < end:
            segments.append(Segment(closed_from, end, is_open=False))
        return segments


def format_remaining(minutes: int) -> str:
    """Minutes for people: ``"45m"``, ``"1h 30m"``, ``"2d 1h"``, with ``"-"`` in front when overdue.

    A day is 1440 minutes; from one day on the minutes are dropped.
    """
    sign = "-" if minutes < 0 else ""
    hours, minutes = divmod(abs(minutes), 60)
    days, hours = divmod(hours, 24)
    if days:
        text = f"{days}d {hours}h" if hours else f"{days}d"
    elif hours:
        text = f"{hours}h {minutes}m" if minutes else f"{hours}h"
    else:
        text = f"{minutes}m"
    return sign + text
