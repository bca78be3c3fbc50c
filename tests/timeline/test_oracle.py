"""Crossing instants against an oracle that knows nothing of the code: it lives through every minute.

It reads the wall clock for opening hours and asks at each minute what happens there, by the rules for ties.
Everything is aligned to minutes, so that no percentage falls between two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Schedule
from slaq.promise import Phase, Promise
from slaq.timeline import fold

from .draw import PLAIN, SCHEDULES, START

MINUTE = timedelta(minutes=1)
HORIZON = 6 * 24 * 60
PERCENTS = (0, 5, 50, 75, 100, 110, 250)
_STOPPED_BY = {Phase.RESPONSE: {FactKind.ANSWERED, FactKind.RESOLVED}, Phase.RESOLUTION: {FactKind.RESOLVED}}


@cache
def open_minutes(number: int) -> tuple[bool, ...]:
    """For each minute from the start on, whether the wall clock shows opening hours."""
    schedule = SCHEDULES[number]
    return tuple(_is_open(schedule, START + minute * MINUTE) for minute in range(HORIZON))


def _is_open(schedule: Schedule, at: datetime) -> bool:
    if schedule.is_24x7:
        return True
    local = at.astimezone(ZoneInfo(schedule.timezone))
    if any(holiday.holiday_date == local.date() for holiday in schedule.holidays):
        return False
    time, weekday = timedelta(hours=local.hour, minutes=local.minute), local.isoweekday() % 7
    for entry in schedule.entries:
        if entry.start_time < entry.end_time:
            is_open = entry.day_of_week == weekday and entry.start_time <= time < entry.end_time
        else:
            is_open = (entry.day_of_week == weekday and time >= entry.start_time) or (
                (entry.day_of_week + 1) % 7 == weekday and time < entry.end_time
            )
        if is_open:
            return True
    return False


@attrs.define
class Oracle:
    """One phase, minute by minute."""

    phase: Phase
    target: int
    used: int = 0
    is_finished: bool = False
    holds: set[PauseSource] = attrs.field(factory=set)
    closed: bool = False
    crossed: dict[int, int] = attrs.field(factory=dict)
    finished_at: int | None = None

    def minute(self, minute: int, facts: Sequence[Fact]) -> None:
        """What happens at the very instant: stops prevent, crossings precede the rest, a fresh start may cross at once."""
        may_cross = minute == 0 or self.is_running
        for fact in facts:
            self._happens(fact, minute)
            if fact.kind in _STOPPED_BY[self.phase]:
                may_cross = False
            if fact.kind is FactKind.REOPENED:
                may_cross = may_cross or self.is_running
        if may_cross:
            for percent in PERCENTS:
                if self.used * 100 >= self.target * percent:
                    self.crossed.setdefault(percent, minute)

    @property
    def is_running(self) -> bool:
        return not self.is_finished and not self.holds

    def _happens(self, fact: Fact, minute: int) -> None:
        if fact.kind is FactKind.PAUSED and not self.closed and fact.source is not None:
            self.holds.add(fact.source)
        elif fact.kind is FactKind.RESUMED and fact.source is not None:
            self.holds.discard(fact.source)
        elif fact.kind in _STOPPED_BY[self.phase] and not self.is_finished:
            self.is_finished, self.finished_at = True, minute
        elif fact.kind is FactKind.REOPENED and self.closed and self.phase is Phase.RESOLUTION:
            self.is_finished, self.finished_at = False, None
        if fact.kind is FactKind.RESOLVED:
            self.closed = True
            self.holds.clear()
        elif fact.kind is FactKind.REOPENED:
            self.closed = False


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, FactKind, PauseSource | None]]:
    """Up to twelve facts at minutes of the first days, often the same minute, each at most once."""
    moments = st.one_of(st.sampled_from([0, 60, 61, 540, 600]), st.integers(0, 4 * 24 * 60))
    drawn = draw(st.lists(st.tuples(moments, st.sampled_from(PLAIN)), max_size=12, unique=True))
    return [(minute, *what) for minute, what in sorted(drawn, key=lambda each: each[0])]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, len(SCHEDULES) - 1), histories(), st.integers(0, 72), st.integers(0, 72))
def test_crossings_are_where_the_minutes_say(
    number: int, history: list[tuple[int, FactKind, PauseSource | None]], response: int, resolution: int
) -> None:
    """Every percentage of both phases, the time used and the finish."""
    targets = {Phase.RESPONSE: 20 * response, Phase.RESOLUTION: 20 * resolution}
    promise = Promise(SCHEDULES[number], *(minutes * MINUTE for minutes in targets.values()))
    facts = [Fact(kind, START + minute * MINUTE, START, source) for minute, kind, source in history]
    clocks = fold([Fact(FactKind.STARTED, START, START, promise=promise), *facts])
    assert clocks is not None
    happening: dict[int, list[Fact]] = {}
    for (minute, *_), fact in zip(history, facts, strict=True):
        happening.setdefault(minute, []).append(fact)
    for clock in clocks.phases:
        oracle = Oracle(clock.phase, targets[clock.phase])
        for minute, is_open in enumerate(open_minutes(number)):
            oracle.minute(minute, happening.get(minute, ()))
            if is_open and oracle.is_running:
                oracle.used += 1
        until = START + HORIZON * MINUTE
        assert oracle.used * MINUTE == clock.used(until)
        assert (None if oracle.finished_at is None else START + oracle.finished_at * MINUTE) == clock.finished_at
        found = {percent: clock.crossed_at(percent) for percent in PERCENTS}
        assert {percent: START + minute * MINUTE for percent, minute in oracle.crossed.items()} == {
            percent: at for percent, at in found.items() if at is not None and at < until
        }
