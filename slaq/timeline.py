"""The clock: what the facts of a ticket mean under its promise, at any instant.

``fold`` turns facts into clocks; ``Clocks.read`` says how they stand at an instant; ``settle``
says what must be told by an instant and when to look again; ``settle_change`` settles around new facts;
``expected`` replays a whole change log. Everything here is pure: instants come in, nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import groupby

import attrs

from slaq.facts import Fact, FactKind, PauseSource
from slaq.phase import ZERO, PhaseClock, Span, State, Terms, is_reached
from slaq.promise import Kind, Phase, Promise

_PHASES = tuple(Phase)
_KINDS = tuple(Kind)
_REASONS = tuple(PauseSource)


# ── both clocks of a ticket ─────────────────────────────────────────────────────────────────────


class Headline(StrEnum):
    """A ticket's status in one word: the first that applies, in this order."""

    PAUSED = "paused"
    RESPONSE_BREACHED = "response_breached"
    RESOLUTION_BREACHED = "resolution_breached"
    AT_RISK = "at_risk"
    ON_TRACK = "on_track"
    MET = "met"
    NONE = "none"


@attrs.frozen
class PhaseReading:
    """How one phase stands at one instant; ``used`` and ``remaining`` are business time."""

    phase: Phase
    state: State
    target: timedelta | None
    due_at: datetime | None
    finished_at: datetime | None
    used: timedelta
    remaining: timedelta | None
    at_risk_at: datetime | None

    @property
    def percent(self) -> float | None:
        """The share of the target that is used up, in percent; may exceed 100."""
        if self.target is None:
            return None
        return 100.0 * (self.used / self.target) if self.target else 100.0


@attrs.frozen
class Reading:
    """How a ticket stands at one instant."""

    at: datetime
    headline: Headline
    response: PhaseReading
    resolution: PhaseReading
    paused_at: datetime | None
    pause_reason: PauseSource | None
    next_crossing: Crossing | None


@attrs.frozen
class Crossing:
    """One watched percentage at the exact instant at which it was or will be crossed."""

    phase: Phase
    kind: Kind
    percent: int
    crossed_at: datetime
    level: int | None = None

    @property
    def key(self) -> tuple[Phase, Kind, int]:
        """What at most one live crossing of a ticket may have."""
        return self.phase, self.kind, self.percent

    @property
    def slots(self) -> tuple[tuple[str | int, ...], ...]:
        """What only one live crossing may have: the key, and for an escalation its level in the phase."""
        return (self.key,) if self.level is None else (self.key, (self.phase, self.level))

    @property
    def order(self) -> tuple[datetime, int, int, int]:
        """Equal instants: response first; then breach, threshold, escalation; then percent."""
        return self.crossed_at, _PHASES.index(self.phase), _KINDS.index(self.kind), self.percent


@attrs.frozen
class Clocks:
    """Both clocks of a ticket, as its facts leave them."""

    started_at: datetime
    response: PhaseClock
    resolution: PhaseClock
    holds: Mapping[PauseSource, datetime]
    paused_at: datetime | None
    total_pause: timedelta

    @property
    def phases(self) -> tuple[PhaseClock, PhaseClock]:
        return self.response, self.resolution

    def of(self, phase: Phase) -> PhaseClock:
        return self.response if phase is Phase.RESPONSE else self.resolution

    @property
    def is_open(self) -> bool:
        return self.resolution.finished_at is None

    @property
    def pause_reason(self) -> PauseSource | None:
        return next((source for source in _REASONS if source in self.holds), None)

    @cached_property
    def crossings(self) -> tuple[Crossing, ...]:
        """Every crossing that these facts lead to, past and future, in the order of telling."""
        found = (
            Crossing(clock.phase, watch.kind, watch.percent, instant, watch.level)
            for clock in self.phases
            if clock.target is not None
            for watch in clock.terms.watches
            if (instant := clock.crossed_at(watch.percent)) is not None
            and ((since := clock.terms.added.get(watch.identity)) is None or instant > since)
        )
        return tuple(sorted(found, key=lambda crossing: crossing.crossed_at))  # stable: else in the order of watches

    def read(self, at: datetime) -> Reading:
        """How the ticket stands at ``at``, which must not lie before its newest fact."""
        response, resolution = (self._read_phase(clock, at) for clock in self.phases)
        upcoming = next((c for c in self.crossings if c.crossed_at > at), None)
        headline = self._headline(response.state, resolution.state)
        return Reading(at, headline, response, resolution, self.paused_at, self.pause_reason, upcoming)

    def _read_phase(self, clock: PhaseClock, at: datetime) -> PhaseReading:
        used = clock.used(at)
        due = clock.due_at
        if clock.paused_at is not None and clock.target is not None and used < clock.target:
            due = clock.projected(100, at)
        remaining = None if clock.target is None or clock.finished_at is not None else clock.target - used
        return PhaseReading(
            clock.phase, clock.state(at), clock.target, due, clock.finished_at, used, remaining, clock.at_risk_at
        )

    def _headline(self, response: State, resolution: State) -> Headline:
        states = {response, resolution}
        if states == {State.NONE} or not self.resolution.terms.promise.is_targeted:
            return Headline.NONE
        if self.paused_at is not None:
            return Headline.PAUSED
        late = {State.BREACHED, State.MISSED}
        if response in late:
            return Headline.RESPONSE_BREACHED
        if resolution in late:
            return Headline.RESOLUTION_BREACHED
        if State.AT_RISK in states:
            return Headline.AT_RISK
        return Headline.ON_TRACK if State.RUNNING in states else Headline.MET


@attrs.define
class _Folding:
    """The ticket while its facts are walked through in the order in which they happened."""

    started_at: datetime
    terms: Terms
    spans: list[Span]
    holds: dict[PauseSource, datetime] = attrs.field(factory=dict)
    paused_at: datetime | None = None
    total_pause: timedelta = ZERO
    response: tuple[datetime, Terms] | None = None
    resolution: tuple[datetime, Terms] | None = None

    def step(self, fact: Fact, at: datetime) -> None:
        match fact.kind:
            case FactKind.PAUSED:
                self._pause(fact, at)
            case FactKind.RESUMED:
                self._resume(fact, at)
            case FactKind.ANSWERED:
                self.response = self.response or (at, self.terms)
            case FactKind.RESOLVED:
                self._resolve(at)
            case FactKind.REOPENED:
                if self.resolution is not None:
                    self.resolution = None
                    self.spans.append(Span(at))
            case FactKind.RETARGETED:
                if fact.promise is not None:
                    self.terms = self.terms.replaced(fact.promise, at)
            case FactKind.STARTED:
                pass

    def _pause(self, fact: Fact, at: datetime) -> None:
        if fact.source is None or self.resolution is not None or fact.source in self.holds:
            return
        self.holds[fact.source] = at
        if self.paused_at is None:
            self.paused_at = at
            self.spans[-1] = attrs.evolve(self.spans[-1], end=at)

    def _resume(self, fact: Fact, at: datetime) -> None:
        if fact.source is None or self.holds.pop(fact.source, None) is None:
            return
        if not self.holds:
            self._end_pause(at)
            self.spans.append(Span(at))

    def _resolve(self, at: datetime) -> None:
        if self.resolution is not None:
            return
        self.response = self.response or (at, self.terms)
        self.resolution = (at, self.terms)
        self.spans = list(_until(self.spans, at))
        self.holds.clear()
        self._end_pause(at)

    def _end_pause(self, at: datetime) -> None:
        if self.paused_at is not None:
            self.total_pause += at - self.paused_at
            self.paused_at = None

    def clocks(self) -> Clocks:
        response_at, response_terms = self.response or (None, self.terms)
        resolved_at, resolution_terms = self.resolution or (None, self.terms)
        return Clocks(
            self.started_at,
            PhaseClock(
                Phase.RESPONSE,
                response_terms,
                tuple(_until(self.spans, response_at)),
                response_at,
                None if response_at is not None else self.paused_at,
            ),
            PhaseClock(Phase.RESOLUTION, resolution_terms, tuple(self.spans), resolved_at, self.paused_at),
            dict(self.holds),
            self.paused_at,
            self.total_pause,
        )


def _until(spans: Iterable[Span], stop: datetime | None) -> Iterable[Span]:
    """The part of ``spans`` up to a stop; the first span stays even when nothing of it is left."""
    for position, span in enumerate(spans):
        if stop is None or (span.end is not None and span.end < stop):
            yield span
        elif span.start < stop or position == 0 or span.end == stop:
            yield Span(span.start, stop, is_stopped=True)


def fold(facts: Sequence[Fact], until: datetime | None = None) -> Clocks | None:
    """The clocks that ``facts`` (in the order of arrival) lead to; ``None`` before a ticket has started.

    With ``until`` only facts up to that instant count. Facts take effect in the order of their
    instants, ties in the order of arrival; the same one twice is one. Instants before the start
    count as the start.
    """
    started = next((fact for fact in facts if fact.kind is FactKind.STARTED), None)
    if started is None or started.promise is None:
        return None
    start = started.at
    folding = _Folding(start, Terms.first(started.promise), [Span(start)])
    seen: set[tuple[FactKind, PauseSource | None, datetime]] = set()
    for fact in sorted(facts, key=lambda fact: fact.at):
        mark = fact.kind, fact.source, fact.at
        if (until is None or fact.at <= until) and (mark not in seen or fact.kind is FactKind.RETARGETED):
            seen.add(mark)
            folding.step(fact, max(fact.at, start))
    return folding.clocks()


# ── settling: what must be told ─────────────────────────────────────────────────────────────────


@attrs.frozen
class Record:
    """A crossing as it is recorded; ``row`` is its id once it is stored.

    ``promise`` is the one under which it is told, which a retarget of the same change may have replaced.
    """

    crossing: Crossing
    is_voided: bool = False
    row: str | None = None
    is_silent: bool = False
    promise: Promise | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class Settlement:
    """What a settling asks for.

    ``records`` is everything recorded so far, with this settling done; ``told``, ``voided`` and
    ``revived`` are what it changed; ``alarm`` is when to look again.
    """

    clocks: Clocks | None
    records: tuple[Record, ...]
    told: tuple[Record, ...] = ()
    voided: tuple[Record, ...] = ()
    revived: tuple[Record, ...] = ()
    alarm: datetime | None = None


def settle(
    facts: Sequence[Fact],
    records: Sequence[Record],
    until: datetime,
    *,
    is_retarget: bool = False,
    is_inclusive: bool = True,
    is_silent: bool = False,
) -> Settlement:
    """What must be told, voided or revived by ``until``, and the next instant to look again.

    ``is_retarget``: the promise has just changed, so thresholds and escalations that now lie ahead
    are voided. Breaches follow the facts both ways, always. Settling twice tells nothing twice.
    """
    clocks = fold(facts)
    if clocks is None:
        return Settlement(None, tuple(records))
    kept = list(records)
    for position, record in enumerate(kept):
        if not record.is_voided and _is_obsolete(record.crossing, clocks, until, is_retarget=is_retarget):
            kept[position] = attrs.evolve(record, is_voided=True)
    taken = {slot for record in kept if not record.is_voided for slot in record.crossing.slots}
    for position, record in enumerate(kept):
        if record.is_voided and taken.isdisjoint(record.crossing.slots) and _stands(record.crossing, clocks, until):
            kept[position] = attrs.evolve(record, is_voided=False)
            taken.update(record.crossing.slots)
    ahead: datetime | None = None
    for crossing in clocks.crossings:
        if not taken.isdisjoint(crossing.slots):
            continue
        if crossing.crossed_at > until or (crossing.crossed_at == until and not is_inclusive):
            ahead = crossing.crossed_at
            break
        kept.append(Record(crossing, is_silent=is_silent, promise=clocks.of(crossing.phase).terms.promise))
        taken.update(crossing.slots)
    return _settlement(clocks, records, kept, ahead)


def _is_obsolete(crossing: Crossing, clocks: Clocks, until: datetime, *, is_retarget: bool) -> bool:
    """Whether a live record no longer stands: a breach that the facts undo, the rest by a retarget alone."""
    clock = clocks.of(crossing.phase)
    if crossing.kind is Kind.BREACH:
        return clock.crossed_at(crossing.percent) != crossing.crossed_at
    if not is_retarget or clock.finished_at is not None or clock.target is None:
        return False
    return not is_reached(clock.crossed_at(crossing.percent), until)


def _stands(crossing: Crossing, clocks: Clocks, until: datetime) -> bool:
    """Whether the exact instant of a voided record has come back, watched or not."""
    clock = clocks.of(crossing.phase)
    return crossing.crossed_at <= until and clock.crossed_at(crossing.percent) == crossing.crossed_at


def _settlement(clocks: Clocks, old: Sequence[Record], kept: Sequence[Record], ahead: datetime | None) -> Settlement:
    """What became of the ``old`` records, which ``kept`` begins with."""
    changed = [now for was, now in zip(old, kept, strict=False) if was.is_voided != now.is_voided]
    return Settlement(
        clocks,
        tuple(kept),
        told=tuple(sorted(kept[len(old) :], key=lambda record: record.crossing.order)),
        voided=tuple(record for record in changed if record.is_voided),
        revived=tuple(record for record in changed if not record.is_voided),
        alarm=ahead,
    )


def settle_change(facts: Sequence[Fact], new: Sequence[Fact], records: Sequence[Record], now: datetime) -> Settlement:
    """Settle around a change: the old promise up to a retarget, then everything up to ``now``.

    Whatever lies before a pause, an answer or a resolution follows from the facts that include it;
    only a retarget would drop what lies before it. A ticket first seen already closed has its
    crossings recorded in silence.
    """
    log = (*facts, *new)
    clocks = fold(log) if any(fact.kind is FactKind.STARTED for fact in new) else None
    is_silent = clocks is not None and not clocks.is_open
    retargets = sorted((fact for fact in new if fact.kind is FactKind.RETARGETED), key=lambda fact: fact.at)
    kept = tuple(records)
    known = (*facts, *(fact for fact in new if fact.kind is not FactKind.RETARGETED))
    for retarget in retargets:
        kept = settle(known, kept, min(retarget.at, now), is_silent=is_silent).records
        known = (*known, retarget)
    after = settle(log, kept, now, is_retarget=bool(retargets), is_silent=is_silent)
    return after if after.clocks is None else _settlement(after.clocks, records, after.records, after.alarm)


def expected(log: Sequence[Fact], until: datetime) -> tuple[Record, ...]:
    """What must have been recorded by ``until``, had the timers been punctual.

    ``log`` is every fact in the order of arrival, those learned together sharing a ``change``.
    """
    facts: tuple[Fact, ...] = ()
    records: tuple[Record, ...] = ()
    for _, group in groupby(log, key=lambda fact: fact.change):
        new = tuple(group)
        known_at = new[0].known_at
        if known_at > until:
            break
        records = settle(facts, _numbered(records), known_at, is_inclusive=False).records
        records = settle_change(facts, new, _numbered(records), known_at).records
        facts += new
    return settle(facts, _numbered(records), until).records


def _numbered(records: Sequence[Record]) -> tuple[Record, ...]:
    return tuple(attrs.evolve(r, row=str(position)) for position, r in enumerate(records))
