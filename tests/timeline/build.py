"""Short words for tickets, instants and rows, so that a test reads like the rule that it checks.

Instants are written ``"Mon 09:00"`` (the week of Monday 1 January 2024, UTC), ``"Mon+1 09:00"`` (the
week after), with seconds when needed, or in full as ISO 8601. Durations are ``"90m"``, ``"4h"`` or ``"4h 30m"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Escalation, Phase, Promise, Threshold
from slaq.timeline import Clocks, Headline, PhaseReading, Reading, Record, expected, fold

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}


def week(*hours: str, zone: str = "UTC", days: Iterable[int] = range(1, 6), holidays: Iterable[str] = ()) -> Schedule:
    """A schedule with the same ``"09:00-17:00"`` hours on each of ``days`` (0 = Sunday)."""
    entries = [Entry(day, *span.split("-")) for day in days for span in hours]
    return Schedule(zone, entries, [Holiday(day) for day in holidays])


OFFICE = week("09:00-17:00")
ALWAYS = Schedule("UTC", (), is_24x7=True)


def instant(text: str) -> datetime:
    """The instant that ``text`` names."""
    match = re.fullmatch(r"(\w{3})(\+\d+)? (\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?", text)
    if match is None:
        return datetime.fromisoformat(text).astimezone(UTC)
    day, weeks, hours, minutes, seconds = match.groups()
    days = DAYS.index(day) + 7 * int(weeks or 0)
    return MONDAY + timedelta(days=days, hours=int(hours), minutes=int(minutes), seconds=float(seconds or 0))


def name(at: datetime | None) -> str | None:
    """How ``instant`` writes ``at``: the shortest form that says it."""
    if at is None:
        return None
    weeks, day = divmod((at - MONDAY) // timedelta(days=1), 7)
    clock = at.strftime("%H:%M" if at.second == at.microsecond == 0 else "%H:%M:%S.%f").rstrip(
        "0" if at.microsecond else ""
    )
    return f"{DAYS[day]}{f'{weeks:+}' if weeks else ''} {clock.removesuffix('.000000')}"


def span(text: str) -> timedelta:
    """The duration that ``text`` names."""
    return timedelta(**{_UNITS[part[-1]]: float(part[:-1]) for part in text.split()})


def promise(
    schedule: Schedule = OFFICE,
    *,
    response: str | None = None,
    resolution: str | None = None,
    thresholds: Iterable[int] = (),
    levels: Mapping[int, int] | None = None,
) -> Promise:
    """A promise; ``levels`` maps each escalation level to its percentage."""
    return Promise(
        schedule,
        None if response is None else span(response),
        None if resolution is None else span(resolution),
        tuple(Threshold(percent) for percent in thresholds),
        tuple(Escalation(level, percent) for level, percent in (levels or {}).items()),
    )


def fact(kind: FactKind, at: str, **extra: Any) -> Fact:
    """A fact that becomes known as it happens."""
    return Fact(kind, instant(at), instant(at), **extra)


def started(at: str, terms: Promise) -> Fact:
    return fact(FactKind.STARTED, at, promise=terms)


def paused(at: str, source: str = "status") -> Fact:
    return fact(FactKind.PAUSED, at, source=PauseSource(source))


def resumed(at: str, source: str = "status") -> Fact:
    return fact(FactKind.RESUMED, at, source=PauseSource(source))


def answered(at: str) -> Fact:
    return fact(FactKind.ANSWERED, at)


def resolved(at: str) -> Fact:
    return fact(FactKind.RESOLVED, at)


def reopened(at: str) -> Fact:
    return fact(FactKind.REOPENED, at)


def retargeted(at: str, terms: Promise) -> Fact:
    return fact(FactKind.RETARGETED, at, promise=terms)


@attrs.frozen
class Ticket:
    """A ticket's change log; each verb returns a ticket that has learned one change more."""

    log: tuple[Fact, ...]

    def learned(self, known: str, *facts: Fact) -> Ticket:
        """With ``facts`` learned together at the instant ``known``, or with the change before if that was later."""
        known_at = max([instant(known), *(each.known_at for each in self.log[-1:])])
        change = self.log[-1].change + 1 if self.log else 0
        return Ticket((*self.log, *(attrs.evolve(each, known_at=known_at, change=change) for each in facts)))

    def paused(self, at: str, source: str = "status", known: str | None = None) -> Ticket:
        return self.learned(known or at, paused(at, source))

    def resumed(self, at: str, source: str = "status", known: str | None = None) -> Ticket:
        return self.learned(known or at, resumed(at, source))

    def answered(self, at: str, known: str | None = None) -> Ticket:
        return self.learned(known or at, answered(at))

    def resolved(self, at: str, known: str | None = None) -> Ticket:
        return self.learned(known or at, resolved(at))

    def reopened(self, at: str, known: str | None = None) -> Ticket:
        return self.learned(known or at, reopened(at))

    def retargeted(self, at: str, schedule: Schedule = OFFICE, *, known: str | None = None, **terms: Any) -> Ticket:
        return self.learned(known or at, retargeted(at, promise(schedule, **terms)))

    def clocks(self) -> Clocks:
        """What all facts together lead to."""
        clocks = fold(self.log)
        assert clocks is not None
        return clocks

    def at(self, at: str) -> Reading:
        """How the ticket stands at an instant, by what is known then."""
        clocks = fold([each for each in self.log if each.known_at <= instant(at)])
        assert clocks is not None
        return clocks.read(instant(at))

    def headline(self, at: str) -> Headline:
        return self.at(at).headline

    def response(self, at: str) -> PhaseReading:
        return self.at(at).response

    def resolution(self, at: str) -> PhaseReading:
        return self.at(at).resolution

    def states(self, at: str) -> tuple[str, str]:
        """The states of response and resolution."""
        return self.response(at).state.value, self.resolution(at).state.value

    def due(self, phase: str = "response") -> str | None:
        """When a phase is due by all that is known."""
        return name(self.clocks().of(Phase(phase)).due_at)

    def met(self, at: str, phase: str = "response") -> bool | None:
        """The verdict at an instant, by what is known then."""
        clocks = fold([each for each in self.log if each.known_at <= instant(at)])
        assert clocks is not None
        return clocks.of(Phase(phase)).met(instant(at))

    def rows(self, until: str) -> list[str]:
        """Every row that must have been recorded by an instant, in the order of recording."""
        return [row(record) for record in expected(self.log, instant(until))]

    def told(self, until: str) -> list[str]:
        """The rows that tell somebody, that is all but breaches."""
        return [text for text in self.rows(until) if " breach " not in text]

    def breaches(self, until: str) -> list[str]:
        return [text for text in self.rows(until) if " breach " in text]


def row(record: Record) -> str:
    """A row in words: ``"response 50% Mon 09:30"``, ``"response breach Mon 10:00"``, ``"resolution level 1 ..."``."""
    crossing = record.crossing
    what = {"breach": "breach", "threshold": f"{crossing.percent}%", "escalation": f"level {crossing.level}"}
    marks = (" voided" if record.is_voided else "") + (" silent" if record.is_silent else "")
    return f"{crossing.phase} {what[crossing.kind]} {name(crossing.crossed_at)}{marks}"


def ticket(at: str = "Mon 09:00", schedule: Schedule = OFFICE, **terms: Any) -> Ticket:
    """A ticket that starts at an instant, under a promise made of ``terms``."""
    return Ticket(()).learned(at, started(at, promise(schedule, **terms)))
