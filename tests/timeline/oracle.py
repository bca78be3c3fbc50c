"""An oracle that knows the rules of the clock as they are written, and nothing of the code that follows them.

It lives through every minute: it reads the wall clock for opening hours and asks at each minute what happens there, by the
rules for ties. Whole lives are told by ``told`` and ``headline``. Everything must be aligned to minutes, so that no
percentage falls between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

import attrs

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Schedule
from slaq.promise import Kind, Phase, Promise

MINUTE = timedelta(minutes=1)
STOPPED_BY = {Phase.RESPONSE: {FactKind.ANSWERED, FactKind.RESOLVED}, Phase.RESOLUTION: {FactKind.RESOLVED}}


# ── opening hours ───────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=100)
def open_minutes(schedule: Schedule, start: datetime, count: int) -> tuple[bool, ...]:
    """For each of ``count`` minutes from ``start`` on, whether the wall clock shows opening hours."""
    return tuple(_is_open(schedule, start + minute * MINUTE) for minute in range(count))


def _is_open(schedule: Schedule, at: datetime) -> bool:
    if schedule.is_24x7:
        return True
    local = at.astimezone(ZoneInfo(schedule.timezone))
    while local.fold:  # an hour that is lived twice opens and closes the first time, and stays as it was then left
        at -= MINUTE
        local = at.astimezone(ZoneInfo(schedule.timezone))
    for holiday in schedule.holidays:
        day = holiday.holiday_date
        if (day.month, day.day) == (local.month, local.day) and (holiday.is_recurring or day.year == local.year):
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


# ── one phase, minute by minute ─────────────────────────────────────────────────────────────────


@attrs.define
class PhaseLife:
    """One phase under one promise; minutes are counted from the start."""

    phase: Phase
    target: int | None
    percents: Iterable[int]
    used: int = 0
    is_finished: bool = False
    holds: set[PauseSource] = attrs.field(factory=set)
    closed: bool = False
    crossed: dict[int, int] = attrs.field(factory=dict)
    finished_at: int | None = None

    @classmethod
    def lived(
        cls,
        phase: Phase,
        target: timedelta | None,
        percents: Iterable[int],
        happening: Mapping[int, Sequence[Fact]],
        openings: Sequence[bool],
    ) -> PhaseLife:
        """The phase after as many minutes as there are ``openings``."""
        life = cls(phase, None if target is None else target // MINUTE, percents)
        for minute, is_open in enumerate(openings):
            life.minute(minute, happening.get(minute, ()))
            if is_open and life.is_running:
                life.used += 1
        return life

    def minute(self, minute: int, facts: Sequence[Fact]) -> None:
        """What happens at the very instant: stops prevent, crossings precede the rest, a fresh start may cross at once."""
        may_cross = minute == 0 or self.is_running
        for fact in facts:
            self._happens(fact, minute)
            if fact.kind in STOPPED_BY[self.phase]:
                may_cross = False
            if fact.kind is FactKind.REOPENED:
                may_cross = may_cross or self.is_running
        if may_cross and self.target is not None:
            for percent in self.percents:
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
        elif fact.kind in STOPPED_BY[self.phase] and not self.is_finished:
            self.is_finished, self.finished_at = True, minute
        elif fact.kind is FactKind.REOPENED and self.closed and self.phase is Phase.RESOLUTION:
            self.is_finished, self.finished_at = False, None
        if fact.kind is FactKind.RESOLVED:
            self.closed = True
            self.holds.clear()
        elif fact.kind is FactKind.REOPENED:
            self.closed = False


# ── a whole life, change by change ──────────────────────────────────────────────────────────────


@attrs.define
class Row:
    """What was told. ``level`` is that of an escalation."""

    phase: Phase
    kind: Kind
    percent: int
    crossed_at: datetime
    level: int | None = None
    is_voided: bool = False
    is_silent: bool = False

    def excludes(self, other: Row) -> bool:
        """Whether the two may not both stand: the same percentage, or the same level, of a phase."""
        same_percent = (self.phase, self.kind, self.percent) == (other.phase, other.kind, other.percent)
        return same_percent or (self.level is not None and (self.phase, self.level) == (other.phase, other.level))


def told(log: Sequence[Fact], until: datetime) -> list[Row]:
    """Every row of a life, by timers that are punctual; ``log`` is in the order of arrival, with its changes numbered."""
    life = _Life()
    for _, group in groupby(log, key=lambda fact: fact.change):
        new = list(group)
        if new[0].known_at > until:
            break
        life.learn(new, new[0].known_at)
    if life.has_started:
        life.tell(until)
    return life.rows


def headline(log: Sequence[Fact], until: datetime) -> str:
    """How a ticket stands, in one word."""
    stand = _Stand(list(log), until)
    phases = [stand.phase(phase) for phase in Phase]
    promised = [life for life in phases if life.target is not None]
    if stand.terms(Phase.RESOLUTION).is_empty or not promised:
        return "none"
    if phases[1].holds:
        return "paused"
    for life in promised:
        if 100 in life.crossed:
            return f"{life.phase}_breached"
    running = [life for life in promised if not life.is_finished]
    if any(75 in life.crossed for life in running):
        return "at_risk"
    return "on_track" if running else "met"


@attrs.define
class _Life:
    facts: list[Fact] = attrs.field(factory=list)
    rows: list[Row] = attrs.field(factory=list)
    has_started: bool = False

    def learn(self, new: Sequence[Fact], now: datetime) -> None:
        """A change: what lies before it is told by what was known; a retarget acts after the crossings of its instant."""
        is_start = any(fact.kind is FactKind.STARTED for fact in new)
        if not is_start and not self.has_started:
            self.facts += new
            return
        if self.has_started and now > self.facts[-1].known_at:
            self.tell(now - MINUTE)
        retargets = [fact for fact in new if fact.kind is FactKind.RETARGETED]
        assert len(retargets) <= 1, "a change has one promise"
        old = list(self.facts)
        self.has_started = True
        for retarget in retargets:
            self.facts = [*old, *(fact for fact in new if fact is not retarget)]
            self.tell(min(retarget.at, now))
        self.facts = [*old, *new]
        self.tell(now, is_retarget=bool(retargets))
        if is_start and _Stand(self.facts, now).phase(Phase.RESOLUTION).is_finished:
            for row in self.rows:
                row.is_silent = True

    def tell(self, now: datetime, *, is_retarget: bool = False) -> None:
        """Void what stands no more, revive what stands again, tell what is crossed, oldest first."""
        stand = _Stand(self.facts, now)
        for row in self.rows:
            if not row.is_voided and stand.undoes(row, is_retarget=is_retarget):
                row.is_voided = True
        for row in self.rows:
            if row.is_voided and self._is_free(row) and stand.crossed_at(row.phase, row.percent) == row.crossed_at:
                row.is_voided = False
        for row in stand.crossings():
            if self._is_free(row):
                self.rows.append(row)

    def _is_free(self, row: Row) -> bool:
        return not any(other.excludes(row) for other in self.rows if not other.is_voided)


@attrs.frozen
class _Terms:
    """The promise that a phase is under, and since when each of its watches is watched; ``None``: all along."""

    promise: Promise
    since: Mapping[tuple[Kind, int], datetime | None]

    @property
    def is_empty(self) -> bool:
        return self.promise.response is None and self.promise.resolution is None


class _Stand:
    """What facts come to at an instant, found by living through all the minutes until then."""

    def __init__(self, facts: Sequence[Fact], now: datetime) -> None:
        started = next(fact for fact in facts if fact.kind is FactKind.STARTED)
        assert started.promise is not None
        self.start, self.promise, self.now = started.at, started.promise, now
        self.facts = [fact for fact in self._without_repetitions(facts) if fact.at <= now]
        self.happening: dict[int, list[Fact]] = {}
        for fact in self.facts:
            self.happening.setdefault(max((fact.at - self.start) // MINUTE, 0), []).append(fact)
        self._phases: dict[Phase, PhaseLife] = {}

    @staticmethod
    def _without_repetitions(facts: Sequence[Fact]) -> Iterator[Fact]:
        seen: set[tuple[FactKind, PauseSource | None, datetime]] = set()
        for fact in sorted(facts, key=lambda fact: fact.at):
            key = fact.kind, fact.source, fact.at
            if key not in seen or fact.kind is FactKind.RETARGETED:
                yield fact
            seen.add(key)

    def terms(self, phase: Phase) -> _Terms:
        """A finished phase keeps the promise under which it was finished; what a later policy adds counts from then on."""
        current = self._replaced(_Terms(self.promise, {}), self.promise, self.start)
        finished: _Terms | None = None
        for fact in self.facts:
            if fact.kind is FactKind.RETARGETED and fact.promise is not None:
                current = self._replaced(current, fact.promise, fact.at)
            elif fact.kind in STOPPED_BY[phase]:
                finished = finished or current
            elif fact.kind is FactKind.REOPENED and phase is Phase.RESOLUTION:
                finished = None
        return finished or current

    def _replaced(self, old: _Terms, promise: Promise, at: datetime) -> _Terms:
        if promise.response is None and promise.resolution is None:
            return _Terms(promise, old.since)
        watched = [
            (Kind.BREACH, 100),
            *((Kind.THRESHOLD, threshold.percent) for threshold in promise.thresholds),
            *((Kind.ESCALATION, step.level) for step in promise.escalations),
        ]
        return _Terms(promise, {watch: old.since.get(watch, at) if old.since else None for watch in watched})

    def phase(self, phase: Phase) -> PhaseLife:
        if phase not in self._phases:
            promise = self.terms(phase).promise
            minutes = max((self.now - self.start) // MINUTE + 1, 0)
            openings = open_minutes(promise.schedule, self.start, minutes)
            self._phases[phase] = PhaseLife.lived(
                phase, promise.target(phase), self._percents(), self.happening, openings
            )
        return self._phases[phase]

    def _percents(self) -> set[int]:
        """Every percentage that one of the promises ever watched, and what the headline asks."""
        promises = [fact.promise for fact in self.facts if fact.promise is not None]
        return {75, 100, *(watch.percent for one in promises for watch in (*one.thresholds, *one.escalations))}

    def crossed_at(self, phase: Phase, percent: int) -> datetime | None:
        """When a percentage was crossed, if it was by now."""
        minute = self.phase(phase).crossed.get(percent)
        return None if minute is None else self.start + minute * MINUTE

    def undoes(self, row: Row, *, is_retarget: bool) -> bool:
        """Breaches follow the facts; thresholds and levels are undone by a retarget that puts them into the future."""
        crossed_at = self.crossed_at(row.phase, row.percent)
        if row.kind is Kind.BREACH:
            return crossed_at != row.crossed_at
        life = self.phase(row.phase)
        return is_retarget and not life.is_finished and life.target is not None and crossed_at is None

    def crossings(self) -> list[Row]:
        """Whatever has been crossed and was watched then."""
        found = []
        for phase in Phase:
            terms = self.terms(phase)
            levels = {step.level: step.percent for step in terms.promise.escalations}
            for (kind, number), since in terms.since.items() if terms.promise.target(phase) is not None else ():
                level = number if kind is Kind.ESCALATION else None
                percent = number if level is None else levels[level]
                at = self.crossed_at(phase, percent)
                if at is not None and (since is None or at > since):
                    found.append(Row(phase, kind, percent, at, level))
        return sorted(found, key=lambda row: row.crossed_at)
