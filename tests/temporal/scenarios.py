"""Scenarios as data: read from ``tests/scenarios``, as a configuration, as a change log, and as calls of the service."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Escalation, Promise, Threshold
from slaq.services.service import SlaService
from slaq.services.ticket import Ticket
from slaq.timeline import Record, expected, fold

MONDAY = datetime(2035, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SOURCES = {"hold": PauseSource.STATUS, "pause": PauseSource.MANUAL, "await": PauseSource.AWAITING_CLIENT}
_ENDS = {"unhold": PauseSource.STATUS, "resume": PauseSource.MANUAL, "reply": PauseSource.AWAITING_CLIENT}
_NOTHING = Schedule("UTC", (), is_24x7=True)


def instant(text: str) -> datetime:
    match = re.fullmatch(r"(\w{3})(?:\+(\d+))? (\d\d):(\d\d)", text)
    assert match is not None, text
    day, weeks, hour, minute = match.groups()
    return MONDAY + timedelta(days=_DAYS.index(day) + 7 * int(weeks or 0), hours=int(hour), minutes=int(minute))


def name(at: datetime) -> str:
    weeks, day = divmod((at - MONDAY).days, 7)
    return f"{_DAYS[day]}{f'+{weeks}' if weeks else ''} {at:%H:%M}" + (f":{at:%S}" if at.second else "")


@attrs.frozen(kw_only=True)
class Scenario:
    """One life; ``tenant`` keeps it apart from the others that are lived at the same time."""

    tenant: str
    name: str
    facts: tuple[str, ...]
    until: str
    crossings: tuple[str, ...]
    ends: str
    start: str = "Mon 09:00"
    priority: str = "high"
    zone: str = "UTC"
    hours: str = "09:00-17:00"
    days: str = "mon-fri"
    holidays: str = ""
    always: bool = False
    response: str = "100m"
    resolution: str = "400m"
    thresholds: str = "50 75 90 100"
    levels: str = "1=70 2=90 3=110"

    @property
    def steps(self) -> list[tuple[datetime, str]]:
        return [(instant(fact.rpartition(" ")[0]), fact.rpartition(" ")[2]) for fact in self.facts]

    def configuration(self) -> str:
        """As ``slaq apply`` reads it."""
        name = f"tenants.{self.tenant}"
        targets = ", ".join(
            f'{k} = "{v}"' for k, v in (("response", self.response), ("resolution", self.resolution)) if v
        )
        escalation = ", ".join(level.replace("=", " = ") for level in self.levels.split())
        always = ", is_24x7 = true" if self.always else ""
        hours = ", ".join(f'"{span}"' for span in self.hours.split())
        holidays = ", ".join(f'"{day}"' for day in self.holidays.split())
        thresholds = ", ".join(f"{percent} = {{}}" for percent in self.thresholds.split())
        return f"""
[{name}]
name = "{self.name}"
[{name}.users]
ada = {{ name = "Ada", email = "ada@acme.example" }}
[{name}.priorities]
high = {{ name = "High", itil_level = 2 }}
low = {{ name = "Low", itil_level = 4 }}
none = {{ name = "None", itil_level = 5 }}
[{name}.statuses]
new = {{ name = "New" }}
hold = {{ name = "On hold", pauses_sla = true }}
closed = {{ name = "Closed", is_closed = true }}
[{name}.schedules.office]
name = "Office"
timezone = "{self.zone}"
is_default = true
hours = {{ {self.days} = [{hours}] }}
holidays = [{holidays}]
[{name}.policies.standard]
name = "Standard"
schedule = "office"
is_default = true
thresholds = {{ {thresholds} }}
[{name}.policies.standard.targets]
high = {{ {targets}{always}, escalation = {{ {escalation} }} }}
low = {{ response = "4h", resolution = "16h"{always}, escalation = {{ {escalation} }} }}
"""

    def ticket(self) -> Ticket:
        return Ticket(
            ticket_id="T", entered_at=instant(self.start), priority_id=self.priority, status_id="new", assigned_to="ada"
        )

    def act(self, verb: str) -> Callable[[SlaService, Any], Awaitable[Any]]:
        """The call of the service that a word stands for."""
        calls: dict[str, Callable[[SlaService, Any], Awaitable[Any]]] = {
            "answer": lambda s, c: s.record_first_response(c, "T"),
            "resolve": lambda s, c: s.record_resolution(c, "T"),
            "reopen": lambda s, c: s.reopen(c, "T"),
            "pause": lambda s, c: s.pause_sla(c, "T"),
            "resume": lambda s, c: s.resume_sla(c, "T"),
            "hold": lambda s, c: s.handle_status_change(c, "T", "hold"),
            "unhold": lambda s, c: s.handle_status_change(c, "T", "new"),
            "close": lambda s, c: s.handle_status_change(c, "T", "closed"),
            "await": lambda s, c: s.handle_response_state_change(c, "T", "awaiting_client"),
            "reply": lambda s, c: s.handle_response_state_change(c, "T", "awaiting_internal"),
            "high": lambda s, c: s.handle_priority_change(c, "T", "high"),
            "low": lambda s, c: s.handle_priority_change(c, "T", "low"),
            "none": lambda s, c: s.handle_priority_change(c, "T", "none"),
            "cancel": lambda s, c: s.cancel_sla(c, "T"),
            "start": lambda s, c: s.start_sla_for_ticket(c, "T"),
            "delete": lambda s, c: s.delete_ticket(c, "T"),
        }
        return calls[verb]

    # ── the pure fold ────────────────────────────────────────────────────────────────────────────

    def log(self) -> list[Fact]:
        at = instant(self.start)
        facts = [Fact(FactKind.STARTED, at, at, promise=self._promise(self.priority), change=1)]
        for number, (at, verb) in enumerate(self.steps, start=2):
            if verb == "close":
                verb = "resolve"
            elif verb == "unhold" and any(word == "close" for _, word in self.steps):
                verb = "reopen"
            facts.append(self._fact(verb, at, number))
        return facts

    def _fact(self, verb: str, at: datetime, change: int) -> Fact:
        kinds = {"answer": FactKind.ANSWERED, "resolve": FactKind.RESOLVED, "reopen": FactKind.REOPENED}
        if verb in kinds:
            return Fact(kinds[verb], at, at, change=change)
        if verb in _SOURCES:
            return Fact(FactKind.PAUSED, at, at, _SOURCES[verb], change=change)
        if verb in _ENDS:
            return Fact(FactKind.RESUMED, at, at, _ENDS[verb], change=change)
        priority = {"cancel": "nothing", "start": self.priority}.get(verb, verb)
        return Fact(FactKind.RETARGETED, at, at, promise=self._promise(priority), change=change)

    def _promise(self, priority: str) -> Promise:
        if priority == "nothing":
            return Promise(_NOTHING)
        if priority == "none":
            return Promise(self._schedule(), policy_id="standard")
        response, resolution = (self.response, self.resolution) if priority == "high" else ("240m", "960m")
        return Promise(
            self._schedule(),
            _minutes(response),
            _minutes(resolution),
            tuple(Threshold(int(percent)) for percent in self.thresholds.split()),
            tuple(Escalation(*(int(part) for part in level.split("="))) for level in self.levels.split()),
            "standard",
        )

    def _schedule(self) -> Schedule:
        if self.always:
            return _NOTHING
        days = range(7) if self.days == "sun-sat" else range(1, 6)
        entries = [Entry(day, *span.split("-")) for day in days for span in self.hours.split()]
        return Schedule(self.zone, entries, [_holiday(day) for day in self.holidays.split()])

    def rows(self) -> list[str]:
        """What the pure fold says must be recorded."""
        if any(verb == "delete" for _, verb in self.steps):
            return []
        return sorted(words(record) for record in expected(self.log(), instant(self.until)))

    def headline(self) -> str:
        """How the pure fold says it stands at the end."""
        if any(verb == "delete" for _, verb in self.steps):
            return "gone"
        clocks = fold(self.log())
        assert clocks is not None
        return clocks.read(instant(self.until)).headline.value


def _minutes(text: str) -> timedelta | None:
    return timedelta(minutes=int(text.removesuffix("m"))) if text else None


def _holiday(day: str) -> Holiday:
    return Holiday(f"2035-{day}", is_recurring=True) if len(day) == 5 else Holiday(day)


def words(record: Record) -> str:
    crossing = record.crossing
    return spell(crossing.crossed_at, crossing.phase, crossing.kind, crossing.percent, is_voided=record.is_voided)


def spell(at: datetime, phase: str, kind: str, percent: int, *, is_voided: bool) -> str:
    return f"{name(at)} {phase} {kind} {percent}{' voided' if is_voided else ''}"


def load() -> list[Scenario]:
    """Every scenario, each in a tenant of its own."""
    found = []
    for file in sorted((Path(__file__).parents[1] / "scenarios").glob("*.toml")):
        for number, table in enumerate(tomllib.loads(file.read_text("utf-8"))["scenario"]):
            lists = {key: tuple(table.pop(key)) for key in ("facts", "crossings")}
            found.append(Scenario(tenant=f"{file.stem}-{number:02}", **lists, **table))
    return found
