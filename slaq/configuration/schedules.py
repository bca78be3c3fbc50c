"""Reading schedules: opening hours and holidays, checked with the rules of business time itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from zoneinfo import available_timezones

from slaq import hours
from slaq.configuration.reader import Table, flag, items, label, near, text
from slaq.configuration.records import DAYS, Holiday, Hours, Record, Schedule

_LEAP_YEAR = 2000
_LONG_AGO = datetime(_LEAP_YEAR, 1, 1, tzinfo=UTC)
_HOLIDAY = re.compile(r"(\d{4}-\d\d-\d\d|\d\d-\d\d)(?:\s+(\S.*))?", re.DOTALL)


def read_schedules(table: Table, shared: list[Holiday]) -> Iterator[Record]:
    """The schedules of a tenant with their parts; ``shared`` are the holidays of all of them."""
    for id, entry in table.tables():
        schedule = Schedule(
            id=id,
            name=entry.take("name", label, id),
            timezone=entry.need("timezone", _timezone, "UTC"),
            is_default=entry.take("is_default", flag, default=False),
            is_24x7=entry.take("is_24x7", flag, default=False),
        )
        known = len(table.problems)
        opening = list(_read_hours(entry.table("hours"), id))
        holidays = read_holidays(entry, id)
        if len(table.problems) == known and not _opens(schedule, opening, holidays + shared):
            entry.note(
                ("hours",), entry.values.get("hours", {}),
                "never opens: give it hours on a day that is no holiday, or make it is_24x7",
            )  # fmt: skip
        entry.close()
        yield from (schedule, *opening, *holidays)


def read_holidays(table: Table, schedule: str) -> list[Holiday]:
    """The list under ``holidays``; a date twice is a mistake."""
    holidays: dict[str, Holiday] = {}
    for value in table.take("holidays", items, []):
        try:
            holiday = _holiday(value, schedule)
        except ValueError as error:
            table.note(("holidays",), value, str(error))
            continue
        if holiday.date in holidays:
            table.note(("holidays",), value, "is a date that is already in the list")
        holidays[holiday.date] = holiday
    return list(holidays.values())


def calendar_date(written: str) -> date:
    """The date of a holiday as it is stored: one of every year stands in a leap year."""
    return date.fromisoformat(written if len(written) > len("12-25") else f"{_LEAP_YEAR}-{written}")


def _holiday(value: object, schedule: str) -> Holiday:
    match = _HOLIDAY.fullmatch(text(value))
    if not match:
        raise ValueError('is not a holiday; write "2026-12-25 Christmas", or "12-25 Christmas" for every year')
    try:
        calendar_date(match[1])
    except ValueError:
        raise ValueError("is not a day of the calendar") from None
    return Holiday(schedule=schedule, date=match[1], name=(match[2] or "").strip())


def _timezone(value: object) -> str:
    name = text(value)
    try:
        hours.Schedule(name, (), is_24x7=True)
    except hours.InvalidSchedule:
        hint = near(name, available_timezones())
        raise ValueError(f'is not the name of a time zone, such as "Europe/London"{hint}') from None
    return name


def _read_hours(table: Table, schedule: str) -> Iterator[Hours]:
    """The openings of each day; a day in two keys, or two openings that begin together, are mistakes."""
    seen: dict[int, str] = {}
    for key in table.names(_days):
        entries = [entry for value in table.take(key, items, []) if (entry := _opening(table, key, value))]
        if len({start for start, _ in entries}) < len(entries):
            table.note((key,), table.values[key], "has two openings that begin at the same time")
        for day in _days(key):
            if day in seen:
                table.note((key,), table.values[key], f"gives {DAYS[day]} again, which {seen[day]} has already")
                continue
            seen[day] = key
            for start, end in entries:
                yield Hours(schedule=schedule, day=day, start=start, end=end)


def _days(key: str) -> list[int]:
    """``mon`` or ``fri-mon`` as weekdays."""
    first, _, last = key.partition("-")
    if first not in DAYS or (last or first) not in DAYS or key.endswith("-"):
        raise ValueError('is neither a day nor a range of days; write "mon" or "mon-fri"')
    start, end = DAYS.index(first), DAYS.index(last or first)
    return [day % 7 for day in range(start, end + 1 if start <= end else end + 8)]


def _opening(table: Table, key: str, value: object) -> tuple[str, str] | None:
    """``09:00-17:00`` as its two times; an end at or before the start is on the next day."""
    try:
        start, dash, end = text(value).partition("-")
        if not dash:
            raise ValueError('is not an opening; write "09:00-17:00"')
        hours.Entry(0, start.strip(), end.strip())
    except hours.InvalidSchedule as error:
        table.note((key,), value, f"is not an opening: {error}")
    except ValueError as error:
        table.note((key,), value, str(error))
    else:
        entry = Hours(schedule="", day=0, start=start.strip(), end=end.strip())
        return entry.start, entry.end
    return None


def _opens(schedule: Schedule, opening: list[Hours], holidays: list[Holiday]) -> bool:
    """Whether the desk is ever open, by the rules that will count its time."""
    rules = hours.Schedule(
        schedule.timezone,
        tuple(hours.Entry(entry.day, entry.start, entry.end) for entry in opening),
        tuple(hours.Holiday(calendar_date(holiday.date), len(holiday.date) == len("12-25")) for holiday in holidays),
        schedule.is_24x7,
    )
    try:
        rules.next_open(_LONG_AGO)
    except hours.NeverOpens:
        return False
    return True
