"""Business time beside its peers: nanoseconds per call, in one run, as ratios to slaq.

    python -m benchmarks.hours

One desk for all: Monday to Friday 09:00-17:00 in New York, 12 holidays a year from 2023 to 2028. Each
peer gets its own kind of instants, made beforehand, and the fastest call its documentation names.
"""

from __future__ import annotations

import random
import sys
import time as clock
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from slaq import hours

DEADLINES = (60, 480, 2400, 9600, 43200)  # business minutes
SPANS = (1, 7, 30, 365)  # days on the clock
REPEATS = 5
SECONDS = 0.1  # per repeat
STARTS = 500
SAMPLE = 60  # answers compared for each row

ZONE = ZoneInfo("America/New_York")
OPENS, CLOSES = time(9), time(17)
DAYS = ((1, 1), (1, 15), (2, 19), (5, 27), (6, 19), (7, 4), (9, 2), (10, 14), (11, 11), (11, 28), (12, 24), (12, 25))
HOLIDAYS = [date(year, month, day) for year in range(2023, 2029) for month, day in DAYS]


class Row(NamedTuple):
    """One measured cell."""

    operation: str
    peer: str
    nanoseconds: float | None  # None: not installed, or the peer has no such call
    ratio: float | None  # times slaq's
    right: str  # answers that name slaq's business instant or duration, of the sample


class Calendar(NamedTuple):
    """One library's calendar, behind calls that take its own kind of instants."""

    instant: Callable[[datetime], Any]
    utc: Callable[[Any], datetime]
    duration: Callable[[int], Any]
    deadline: Callable[[Any, Any], Any]
    elapsed: Callable[[Any, Any], timedelta] | None


def same(value: Any) -> Any:
    return value


def in_minutes(minutes: int) -> timedelta:
    return timedelta(minutes=minutes)


def local(at: datetime) -> datetime:
    return at.astimezone(ZONE)


def utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def slaq() -> Calendar:
    week = [hours.Entry(day, OPENS, CLOSES) for day in range(1, 6)]
    desk = hours.Schedule("America/New_York", week, [hours.Holiday(day) for day in HOLIDAYS])
    return Calendar(same, same, in_minutes, desk.deadline, desk.elapsed)


def workclock() -> Calendar:
    lib = import_module("workclock")
    desk = lib.Schedule([lib.WorkDay(OPENS, CLOSES), lib.Holidays(HOLIDAYS)], time_zone=ZONE)
    return Calendar(same, same, in_minutes, desk.add, desk.between)


def timegrid() -> Calendar:
    lib = import_module("timegrid")
    desk = lib.TimeGridCalendar.weekdays(OPENS, CLOSES)
    for day in HOLIDAYS:
        desk = desk.close(day)
    compiled = desk.compile(datetime(2023, 1, 1), datetime(2029, 1, 1))
    return Calendar(
        instant=lambda at: local(at).replace(tzinfo=None),
        utc=lambda at: utc(at.replace(tzinfo=ZONE)),
        duration=lib.minutes,
        deadline=lambda start, duration: desk.at(start).add_work_duration(duration),
        elapsed=compiled.get_working_duration,
    )


def pandas() -> Calendar:
    lib = import_module("pandas")
    offsets = import_module("pandas.tseries.offsets")

    def offset(minutes: int) -> Any:
        return offsets.CustomBusinessHour(n=minutes // 60, start=OPENS, end=CLOSES, holidays=HOLIDAYS)

    return Calendar(
        instant=lambda at: lib.Timestamp(local(at)),
        utc=lambda at: utc(at.to_pydatetime()),
        duration=offset,
        deadline=lambda start, offset: start + offset,
        elapsed=None,
    )


def businesstimedelta() -> Calendar:
    lib = import_module("businesstimedelta")
    pytz = import_module("pytz").timezone("America/New_York")
    week = lib.WorkDayRule(start_time=OPENS, end_time=CLOSES, working_days=[0, 1, 2, 3, 4], tz=pytz)
    rules = lib.Rules([week, lib.HolidayRule(HOLIDAYS, tz=pytz)])
    return Calendar(
        instant=lambda at: at.astimezone(pytz),
        utc=utc,
        duration=lambda minutes: lib.BusinessTimeDelta(rules, hours=minutes // 60),
        deadline=lambda start, delta: start + delta,
        elapsed=lambda start, end: rules.difference(start, end).timedelta,
    )


PEERS: dict[str, Callable[[], Calendar]] = {
    "slaq": slaq,
    "workclock": workclock,
    "timegrid (naive local)": timegrid,
    "pandas CustomBusinessHour": pandas,
    "businesstimedelta": businesstimedelta,
}


def installed() -> dict[str, Calendar]:
    calendars: dict[str, Calendar] = {}
    for name, build in PEERS.items():
        try:
            calendars[name] = build()
        except ModuleNotFoundError:
            continue
    return calendars


def starts() -> list[datetime]:
    draw = random.Random(2024)
    first, days = datetime(2024, 1, 1, tzinfo=UTC), 3 * 365
    return [first + timedelta(minutes=draw.randrange(days * 1440)) for _ in range(STARTS)]


def measured(calls: dict[str, Callable[[], Any]], batch: dict[str, int]) -> dict[str, float]:
    """The median nanoseconds of one call in ``calls``, each a batch; the peers take turns."""
    rounds: dict[str, int] = {}
    for name, call in calls.items():
        before = clock.perf_counter()
        call()  # also the warm-up
        rounds[name] = max(1, int(SECONDS / max(clock.perf_counter() - before, 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            before = clock.perf_counter_ns()
            for _ in range(rounds[name]):
                call()
            samples[name].append((clock.perf_counter_ns() - before) / rounds[name] / batch[name])
    return {name: median(values) for name, values in samples.items()}


def in_a_loop(call: Callable[[Any, Any], Any], pairs: list[tuple[Any, Any]]) -> Callable[[], None]:
    def run() -> None:
        for one, two in pairs:
            call(one, two)

    return run


def row_of(operation: str, calendars: dict[str, Calendar], ask: Callable[[Calendar], Any], score: Any) -> list[Row]:
    """Measure what ``ask`` gives for each calendar, a call and its arguments, and score its answers."""
    asked = {name: ask(calendar) for name, calendar in calendars.items()}
    asked = {name: question for name, question in asked.items() if question is not None}
    # a slow peer is asked less often, so that a run ends within minutes
    batches = {name: pairs if quick(call, pairs) else pairs[: STARTS // 10] for name, (call, pairs) in asked.items()}
    calls = {name: in_a_loop(asked[name][0], batches[name]) for name in asked}
    timings = measured(calls, {name: len(pairs) for name, pairs in batches.items()})
    rows: list[Row] = []
    for name in PEERS:
        if name not in timings:
            missing = "no such call" if name in calendars else "not installed"
            rows.append(Row(operation, name, None, None, missing))
            continue
        call, pairs = asked[name]
        right = sum(score(calendars[name], index, call(*pairs[index])) for index in range(SAMPLE))
        rows.append(Row(operation, name, timings[name], timings[name] / timings["slaq"], f"{right}/{SAMPLE}"))
    return rows


def quick(call: Callable[[Any, Any], Any], pairs: list[tuple[Any, Any]]) -> bool:
    before = clock.perf_counter()
    call(*pairs[0])
    call(*pairs[1])
    return clock.perf_counter() - before < 2 * SECONDS / STARTS


def deadline_rows(minutes: int, calendars: dict[str, Calendar], begin: list[datetime]) -> list[Row]:
    desk = calendars["slaq"]
    truth = [desk.deadline(at, in_minutes(minutes)) for at in begin]
    assert desk.elapsed is not None
    between = desk.elapsed

    def ask(calendar: Calendar) -> Any:
        target = calendar.duration(minutes)
        return calendar.deadline, [(calendar.instant(at), target) for at in begin]

    def score(calendar: Calendar, index: int, answer: Any) -> bool:
        """Closing time and the next opening are one business instant: peers differ in which they name."""
        due = calendar.utc(answer)
        return between(min(due, truth[index]), max(due, truth[index])) == timedelta(0)

    return row_of(f"deadline +{minutes} min", calendars, ask, score)


def elapsed_rows(days: int, calendars: dict[str, Calendar], begin: list[datetime]) -> list[Row]:
    between = calendars["slaq"].elapsed
    assert between is not None
    truth = [between(at, at + timedelta(days)) for at in begin]

    def ask(calendar: Calendar) -> Any:
        pairs = [(calendar.instant(at), calendar.instant(at + timedelta(days))) for at in begin]
        return calendar.elapsed and (calendar.elapsed, pairs)

    def score(_: Calendar, index: int, answer: timedelta) -> bool:
        return answer == truth[index]

    return row_of(f"elapsed {days} d", calendars, ask, score)


def construction_rows(calendars: dict[str, Calendar]) -> list[Row]:
    """From rules to the first answer, with nothing cached (time-zone data apart)."""
    first = starts()[0]

    def cold(name: str) -> None:
        hours._timeline_of.cache_clear()
        calendar = PEERS[name]()
        calendar.deadline(calendar.instant(first), calendar.duration(60))

    calls = {name: lambda name=name: cold(name) for name in calendars}
    timings = measured(calls, dict.fromkeys(calls, 1))
    return [
        Row("construct + 1", name, timings.get(name), (name in timings and timings[name] / timings["slaq"]) or None, "")
        for name in PEERS
    ]


def rows() -> list[Row]:
    """All cells, operation by operation, slaq first in each."""
    calendars, begin = installed(), starts()
    found: list[Row] = []
    for minutes in DEADLINES:
        found += deadline_rows(minutes, calendars, begin)
    for days in SPANS:
        found += elapsed_rows(days, calendars, begin)
    return found + construction_rows(calendars)


def main() -> None:
    print(f"{'operation':<22}{'peer':<28}{'ns per call':>14}{'x slaq':>10}   right")
    for row in rows():
        cost = "-" if row.nanoseconds is None else f"{row.nanoseconds:,.0f}"
        ratio = "-" if row.ratio is None else f"{row.ratio:,.2f}"
        print(f"{row.operation:<22}{row.peer:<28}{cost:>14}{ratio:>10}   {row.right}")


if __name__ == "__main__":
    sys.exit(main())
