"""Scenarios as data: read from ``tests/scenarios``, as a configuration, as a change log, and as calls of the service."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from psycopg import AsyncConnection

from slaq.configuration import Configuration
from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Escalation, Promise, Threshold
from slaq.services.apply import apply_async
from slaq.services.service import SlaService
from slaq.services.ticket import Ticket
from slaq.timeline import expected, fold

Act: TypeAlias = Callable[[SlaService, AsyncConnection[Any]], Awaitable[Any]]

MONDAY = datetime(2035, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_INSTANT = r"\w{3}(?:\+\d+)? \d\d:\d\d"
_PLAIN = {"answer": FactKind.ANSWERED, "resolve": FactKind.RESOLVED, "reopen": FactKind.REOPENED}
_HOLDS = {"hold": PauseSource.STATUS, "pause": PauseSource.MANUAL, "await": PauseSource.AWAITING_CLIENT}
_ENDS = {"unhold": PauseSource.STATUS, "resume": PauseSource.MANUAL, "reply": PauseSource.AWAITING_CLIENT}
_PRIORITIES = ("high", "low", "none")
_POLICIES = ("standard", "plain", "vip")
_NOTHING = Schedule("UTC", (), is_24x7=True)
GONE = "gone"


def instant(text: str) -> datetime:
    match = re.fullmatch(r"(\w{3})(?:\+(\d+))? (\d\d):(\d\d)", text)
    assert match is not None, text
    day, weeks, hour, minute = match.groups()
    return MONDAY + timedelta(days=_DAYS.index(day) + 7 * int(weeks or 0), hours=int(hour), minutes=int(minute))


def name(at: datetime) -> str:
    weeks, day = divmod((at - MONDAY).days, 7)
    return f"{_DAYS[day]}{f'+{weeks}' if weeks else ''} {at:%H:%M}" + (f":{at:%S}" if at.second else "")


def spell(at: datetime, phase: str, kind: str, percent: int, *, is_voided: bool, is_silent: bool) -> str:
    return f"{name(at)} {phase} {kind} {percent}{' voided' if is_voided else ''}{' silent' if is_silent else ''}"


@attrs.frozen
class Step:
    """What happens at an instant; ``of`` is when it really happened, if that becomes known only now."""

    at: datetime
    verb: str
    of: datetime | None

    @classmethod
    def parse(cls, text: str) -> Step:
        match = re.fullmatch(rf"({_INSTANT}) (\w+)(?: of ({_INSTANT}))?", text)
        assert match is not None, text
        at, verb, of = match.groups()
        return cls(instant(at), verb, None if of is None else instant(of))


@attrs.frozen(kw_only=True)
class Scenario:
    """One life; ``tenant`` keeps it apart from the others that are lived at the same time."""

    tenant: str
    name: str
    facts: tuple[str, ...]
    until: str
    crossings: tuple[str, ...] = ()
    ends: str = ""
    start: str = "Mon 09:00"
    seen: str = ""
    closed: str = ""
    has_policy: bool = True
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
    changed: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def steps(self) -> list[Step]:
        return [Step.parse(fact) for fact in self.facts]

    @property
    def seen_at(self) -> datetime:
        """When the application hands the ticket over for the first time."""
        return instant(self.seen or self.start)

    @property
    def is_deleted(self) -> bool:
        return any(step.verb == "delete" for step in self.steps)

    def reconfigured(self) -> Scenario:
        return attrs.evolve(self, **self.changed)

    # ── through the service ──────────────────────────────────────────────────────────────────────

    def configuration(self) -> str:
        """As ``slaq apply`` reads it."""
        name = f"tenants.{self.tenant}"
        always = ", is_24x7 = true" if self.always else ""
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
hours = {{ {self.days} = [{_quoted(self.hours)}] }}
holidays = [{_quoted(self.holidays)}]
[{name}.policies.standard]
name = "Standard"
schedule = "office"
is_default = {str(self.has_policy).lower()}
thresholds = {_thresholds(self.thresholds)}
[{name}.policies.standard.targets]
high = {{ {_targets(self.response, self.resolution)}{always}, escalation = {_escalation(self.levels)} }}
low = {{ {_targets("240m", "960m")}{always}, escalation = {_escalation(self.levels)} }}
[{name}.policies.plain]
name = "Plain"
schedule = "office"
thresholds = {_thresholds("60 80 120")}
targets.high = {{ {_targets(self.response, self.resolution)}{always}, escalation = {_escalation("1=80 3=150")} }}
[{name}.policies.vip]
name = "Very important"
schedule = "office"
thresholds = {_thresholds("50 100")}
targets.high = {{ {_targets("60m", "200m")}, is_24x7 = true, escalation = {_escalation("1=50 2=75 3=100")} }}
"""

    def ticket(self) -> Ticket:
        """As the application hands it over."""
        closed_at = instant(self.closed) if self.closed else None
        return Ticket(
            ticket_id="T", entered_at=instant(self.start), priority_id=self.priority, assigned_to="ada",
            status_id="new" if closed_at is None else "closed", closed_at=closed_at,
        )  # fmt: skip

    def act(self, step: Step) -> Act:
        """The call of the service that a step stands for."""
        late = {} if step.of is None else {"at": step.of}
        if step.verb in _PRIORITIES:
            return lambda s, c: s.handle_priority_change(c, "T", step.verb, **late)
        if step.verb in _POLICIES:
            return lambda s, c: s.handle_policy_change(c, "T", step.verb, **late)
        calls: dict[str, Act] = {
            "answer": lambda s, c: s.record_first_response(c, "T", **late),
            "resolve": lambda s, c: s.record_resolution(c, "T", **late),
            "reopen": lambda s, c: s.reopen(c, "T", **late),
            "pause": lambda s, c: s.pause_sla(c, "T", **late),
            "resume": lambda s, c: s.resume_sla(c, "T", **late),
            "hold": lambda s, c: s.handle_status_change(c, "T", "hold", **late),
            "unhold": lambda s, c: s.handle_status_change(c, "T", "new", **late),
            "close": lambda s, c: s.handle_status_change(c, "T", "closed", **late),
            "await": lambda s, c: s.handle_response_state_change(c, "T", "awaiting_client", **late),
            "reply": lambda s, c: s.handle_response_state_change(c, "T", "awaiting_internal", **late),
            "release": lambda s, c: s.release_policy(c, "T"),
            "cancel": lambda s, c: s.cancel_sla(c, "T"),
            "start": lambda s, c: s.start_sla_for_ticket(c, "T"),
            "change": self._reconfigure,
            "delete": lambda s, c: s.delete_ticket(c, "T"),
        }
        return calls[step.verb]

    async def _reconfigure(self, service: SlaService, conn: AsyncConnection[Any]) -> None:
        """Change the configuration, and bring the ticket to it as the resynchronisation would."""
        await apply_async(conn, Configuration.parse(self.reconfigured().configuration()))
        await service.start_sla_for_ticket(conn, "T")

    # ── the pure fold ────────────────────────────────────────────────────────────────────────────

    def log(self) -> list[Fact]:
        """The facts that this life comes to."""
        return _Course(self).log()

    def rows(self) -> list[str]:
        """What the pure fold says must be recorded."""
        records = () if self.is_deleted else expected(self.log(), instant(self.until))
        return sorted(
            spell(r.crossing.crossed_at, r.crossing.phase, r.crossing.kind, r.crossing.percent,
                  is_voided=r.is_voided, is_silent=r.is_silent)
            for r in records
        )  # fmt: skip

    def headline(self) -> str:
        """How the pure fold says it stands at the end."""
        if self.is_deleted:
            return GONE
        clocks = fold(self.log())
        assert clocks is not None
        return clocks.read(instant(self.until)).headline.value

    def promise(self, policy: str, priority: str) -> Promise:
        """What a policy promises to a priority."""
        if priority == "none" or (policy != "standard" and priority == "low"):
            return Promise(self._schedule(), policy_id=policy)
        response, resolution = ("240m", "960m") if priority == "low" else (self.response, self.resolution)
        match policy:
            case "plain":
                return self._promise(policy, response, resolution, "60 80 120", "1=80 3=150")
            case "vip":
                promise = self._promise(policy, "60m", "200m", "50 100", "1=50 2=75 3=100")
                return attrs.evolve(promise, schedule=_NOTHING)
            case _:
                return self._promise(policy, response, resolution, self.thresholds, self.levels)

    def _promise(self, policy: str, response: str, resolution: str, thresholds: str, levels: str) -> Promise:
        return Promise(
            _NOTHING if self.always else self._schedule(),
            _minutes(response),
            _minutes(resolution),
            tuple(Threshold(int(percent)) for percent in thresholds.split()),
            tuple(Escalation(*(int(part) for part in level.split("="))) for level in levels.split()),
            policy,
        )

    def _schedule(self) -> Schedule:
        days = range(7) if self.days == "sun-sat" else range(1, 6)
        entries = [Entry(day, *span.split("-")) for day in days for span in self.hours.split()]
        return Schedule(self.zone, entries, [_holiday(day) for day in self.holidays.split()])


@attrs.define
class _Course:
    """What the words of a scenario mean, one after the other."""

    scenario: Scenario
    priority: str = attrs.field(init=False)
    policy: str | None = attrs.field(init=False)
    is_cancelled: bool = False
    is_closed: bool = False
    facts: list[Fact] = attrs.field(factory=list)
    change: int = 1

    def __attrs_post_init__(self) -> None:
        self.priority = self.scenario.priority
        self.policy = "standard" if self.scenario.has_policy else None

    def log(self) -> list[Fact]:
        scenario = self.scenario
        if self.policy is not None:
            self._note(FactKind.STARTED, instant(scenario.start), scenario.seen_at, promise=self._promise())
        if scenario.closed:
            self.is_closed = True
            self._note(FactKind.RESOLVED, instant(scenario.closed), scenario.seen_at)
        for step in scenario.steps:
            self.change += 1
            self._take(step)
        return self.facts

    def _take(self, step: Step) -> None:
        verb, at, known_at = step.verb, step.of or step.at, step.at
        if self.is_closed and verb in ("hold", "unhold"):
            self.is_closed = False
            self._note(FactKind.REOPENED, at, known_at)
        if verb == "close":
            self.is_closed = True
            self._note(FactKind.RESOLVED, at, known_at)
        elif verb in _PLAIN:
            self._note(_PLAIN[verb], at, known_at)
        elif verb in _HOLDS:
            self._note(FactKind.PAUSED, at, known_at, source=_HOLDS[verb])
        elif verb in _ENDS:
            self._note(FactKind.RESUMED, at, known_at, source=_ENDS[verb])
        elif verb != "delete":
            self._retarget(verb, at, known_at)

    def _retarget(self, verb: str, at: datetime, known_at: datetime) -> None:
        if verb in _PRIORITIES:
            self.priority = verb
        elif verb in (*_POLICIES, "release"):
            self.policy = "standard" if verb == "release" else verb
        elif verb == "change":
            self.scenario = self.scenario.reconfigured()
        else:
            self.is_cancelled = verb == "cancel"
        kind = FactKind.RETARGETED if any(fact.promise is not None for fact in self.facts) else FactKind.STARTED
        self._note(kind, at, known_at, promise=self._promise())

    def _promise(self) -> Promise:
        if self.is_cancelled or self.policy is None:
            return Promise(_NOTHING)
        return self.scenario.promise(self.policy, self.priority)

    def _note(self, kind: FactKind, at: datetime, known_at: datetime, **parts: Any) -> None:
        self.facts.append(Fact(kind, at, known_at, change=self.change, **parts))


def _minutes(text: str) -> timedelta | None:
    return timedelta(minutes=int(text.removesuffix("m"))) if text else None


def _holiday(day: str) -> Holiday:
    return Holiday(f"2035-{day}", is_recurring=True) if len(day) == 5 else Holiday(day)


def _quoted(words: str) -> str:
    return ", ".join(f'"{word}"' for word in words.split())


def _targets(response: str, resolution: str) -> str:
    return ", ".join(
        f'{key} = "{value}"' for key, value in (("response", response), ("resolution", resolution)) if value
    )


def _thresholds(percents: str) -> str:
    return f"{{ {', '.join(f'{percent} = {{}}' for percent in percents.split())} }}"


def _escalation(levels: str) -> str:
    return f"{{ {', '.join(level.replace('=', ' = ') for level in levels.split())} }}"


def load() -> list[Scenario]:
    """Every scenario, each in a tenant of its own."""
    found = []
    for file in sorted((Path(__file__).parents[1] / "scenarios").glob("*.toml")):
        for number, table in enumerate(tomllib.loads(file.read_text("utf-8"))["scenario"]):
            lists: dict[str, Iterable[str]] = {key: tuple(table.pop(key)) for key in ("facts", "crossings")}
            found.append(Scenario(tenant=f"{file.stem}-{number:02}", **lists, **table))
    return found
