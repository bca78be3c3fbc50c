"""Cron lines in a time zone, right at its changes: each local wall-clock minute that is meant fires once.

A time that a clock change skips fires at the same distance after the change (02:30 becomes 03:30); one
that comes twice fires the first time. A line whose hour is ``*`` follows real time instead and loses
no hour and repeats none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

from slaq.jobs.model import InvalidJob, Schedule

FRESH = timedelta(seconds=60)
"""With ``missed="skip"`` a tick older than this is not made up for."""
_NEAR = timedelta(hours=3)
_FAR = timedelta(days=366 * 8)


def checked_cron(cron: Any) -> str:
    """``cron`` if it is a line of five fields that comes true some day."""
    if not isinstance(cron, str) or len(cron.split()) != 5 or not croniter.is_valid(cron):
        raise InvalidJob(f"cron {cron!r} is not a line of five fields: minute hour day month weekday")
    try:
        croniter(cron, datetime(2024, 1, 1, tzinfo=UTC)).get_next(datetime)
    except ValueError:
        raise InvalidJob(f"cron {cron!r} never comes true") from None
    return cron


def checked_zone(zone: Any) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidJob(f"time zone {zone!r} is not in the IANA database: take a name like 'Europe/Berlin'") from None


def next_tick(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first tick later than ``after``, in UTC."""
    return min(tick for tick in _around(cron, zone, after, forward=True) if tick > after)


def last_tick(cron: str, zone: ZoneInfo, until: datetime) -> datetime | None:
    """The newest tick that is not later than ``until``; None when there was none in eight years."""
    return max((tick for tick in _around(cron, zone, until, forward=False) if tick <= until), default=None)


def preview_schedule(cron: str, *, tz: str = "UTC", after: datetime, count: int = 5) -> list[datetime]:
    """The next ``count`` ticks later than ``after``, in the zone's time."""
    zone = checked_zone(tz)
    line = checked_cron(cron)
    ticks: list[datetime] = []
    for _ in range(count):
        after = next_tick(line, zone, after)
        ticks.append(after.astimezone(zone))
    return ticks


def due_tick(schedule: Schedule, now: datetime) -> datetime | None:
    """The tick to send now: the newest one, if it was not sent yet and, unless missed ones count, is fresh."""
    tick = last_tick(schedule.cron, ZoneInfo(schedule.zone), now)
    if tick is None or (schedule.last_tick is not None and tick <= schedule.last_tick):
        return None
    if schedule.missed == "skip":
        return tick if now - tick < FRESH else None
    return tick if tick >= (schedule.last_tick or schedule.created_at) else None


def _around(cron: str, zone: ZoneInfo, moment: datetime, *, forward: bool) -> Iterator[datetime]:
    """Ticks near ``moment`` in real time, among them the next one in the direction asked for.

    The line is read on the wall clock, on which it knows no zone; each wall-clock time is then found
    in real time. Around a change of the clock the readings are not in order, so all of them are given.
    """
    is_hourly = cron.split()[1].startswith("*")
    wall = moment.astimezone(zone).replace(tzinfo=None)
    start = wall - _NEAR if forward else wall + _NEAR
    lines = croniter(cron, start)
    while True:
        try:
            reading = lines.get_next(datetime) if forward else lines.get_prev(datetime)
        except ValueError:
            return
        yield from _instants(reading, zone, is_hourly=is_hourly)
        distance = reading - wall if forward else wall - reading
        if distance > _NEAR or distance > _FAR:
            return


def _instants(wall: datetime, zone: ZoneInfo, *, is_hourly: bool) -> Iterator[datetime]:
    """When the zone's clock shows ``wall``: once as a rule, and as the module says at a change."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    is_skipped = first.astimezone(zone).replace(tzinfo=None) != wall
    if is_skipped and is_hourly:
        return
    yield first
    if is_hourly and second != first:
        yield second
