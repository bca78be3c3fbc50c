"""The clock of one phase: the spans in which it counted, under the terms that apply to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

import attrs

from slaq.hours import Schedule
from slaq.promise import AT_RISK_PERCENT, Kind, Phase, Promise, Watch, watches

ZERO = timedelta()
_MICROSECOND = timedelta(microseconds=1)


@attrs.frozen
class Span:
    """A stretch of wall-clock time in which the clock counts; ``end`` is ``None`` while it runs.

    ``is_stopped``: an answer or resolution ended it, which prevents a crossing at that very instant.
    """

    start: datetime
    end: datetime | None = None
    is_stopped: bool = False


@attrs.frozen
class Terms:
    """The promise that a phase is under, and since when each of its watches has been watched.

    A watch that a later promise added fires only for crossings after that change.
    """

    promise: Promise
    added: Mapping[tuple[Kind, int], datetime] = attrs.field(factory=dict)
    watches: tuple[Watch, ...] = ()

    @classmethod
    def first(cls, promise: Promise) -> Terms:
        return cls(promise, {}, watches(promise) if promise.is_targeted else ())

    def replaced(self, promise: Promise, at: datetime) -> Terms:
        """These terms after a retarget at ``at``; a promise without targets changes no watch."""
        if not promise.is_targeted:
            return attrs.evolve(self, promise=promise)
        if not self.promise.is_targeted and not self.watches:
            return Terms.first(promise)
        known = {watch.identity: self.added.get(watch.identity) for watch in self.watches}
        new = watches(promise)
        since = {watch.identity: known.get(watch.identity, at) for watch in new}
        return Terms(promise, {key: instant for key, instant in since.items() if instant is not None}, new)


class State(StrEnum):
    """How one phase stands."""

    NONE = "none"
    RUNNING = "running"
    AT_RISK = "at_risk"
    PAUSED = "paused"
    BREACHED = "breached"
    MET = "met"
    MISSED = "missed"


@attrs.frozen
class PhaseClock:
    """The clock of one phase: the spans in which it counted, under the terms that apply to it."""

    phase: Phase
    terms: Terms
    spans: tuple[Span, ...]
    finished_at: datetime | None
    paused_at: datetime | None
    _crossed: dict[int, datetime | None] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    @property
    def schedule(self) -> Schedule:
        return self.terms.promise.schedule

    @property
    def target(self) -> timedelta | None:
        """The promised business time, or ``None`` when this phase is not promised."""
        return self.terms.promise.target(self.phase)

    @cached_property
    def _counted(self) -> tuple[timedelta, ...]:
        """Business time in each finished span."""
        return tuple(self.schedule.elapsed(s.start, s.end) for s in self.spans if s.end is not None)

    def used(self, at: datetime) -> timedelta:
        """Business time on this clock at ``at``."""
        total = ZERO
        for position, span in enumerate(self.spans):
            if span.start >= at:
                break
            is_over = span.end is not None and span.end <= at
            total += self._counted[position] if is_over else self.schedule.elapsed(span.start, at)
        return total

    def crossed_at(self, percent: int) -> datetime | None:
        """The instant at which ``percent`` of the target is used up, or ``None`` if the facts so far never lead there."""
        if percent not in self._crossed:
            self._crossed[percent] = self._cross(percent)
        return self._crossed[percent]

    def _cross(self, percent: int) -> datetime | None:
        need = self._need(percent)
        if need is None:
            return None
        for span, counted in zip(self.spans, (*self._counted, None), strict=False):
            if counted is None or span.end is None:
                return self.schedule.deadline(span.start, need)
            if need <= counted:
                instant = self.schedule.deadline(span.start, need)
                if instant < span.end or (instant == span.end and not span.is_stopped):
                    return instant
            need = max(need - counted, ZERO)
        return None

    @cached_property
    def due_at(self) -> datetime | None:
        """When the target is used up, counting on from a finish or a running pause as if it had been none."""
        resumed_at = self.finished_at or self.paused_at
        if resumed_at is None:
            return self.crossed_at(100)
        return self.projected(100, resumed_at)

    def projected(self, percent: int, resumed_at: datetime) -> datetime | None:
        """When ``percent`` would be used up if this clock, which stands still, ran on from ``resumed_at``."""
        counted = (*self.spans[:-1], attrs.evolve(self.spans[-1], is_stopped=False))
        return attrs.evolve(self, spans=(*counted, Span(resumed_at))).crossed_at(percent)

    @property
    def at_risk_at(self) -> datetime | None:
        """When this phase becomes at risk if nothing else happens."""
        return self.crossed_at(AT_RISK_PERCENT)

    def met(self, at: datetime) -> bool | None:
        """The verdict: ``None`` while undecided, ``False`` from the due instant of an unfinished phase on."""
        if self.target is None:
            return None
        is_breached = is_reached(self.crossed_at(100), at)
        return None if self.finished_at is None and not is_breached else not is_breached

    def state(self, at: datetime) -> State:
        """How the phase stands at ``at``; a breach outranks a pause, a finish outranks both."""
        if self.target is None:
            return State.NONE
        if self.finished_at is not None:
            return State.MET if self.met(at) else State.MISSED
        if is_reached(self.crossed_at(100), at):
            return State.BREACHED
        if self.paused_at is not None:
            return State.PAUSED
        return State.AT_RISK if is_reached(self.at_risk_at, at) else State.RUNNING

    def _need(self, percent: int) -> timedelta | None:
        if self.target is None:
            return None
        return -(-(self.target // _MICROSECOND) * percent // 100) * _MICROSECOND


def is_reached(instant: datetime | None, at: datetime) -> bool:
    """Whether ``instant`` exists and lies at or before ``at``."""
    return instant is not None and instant <= at
