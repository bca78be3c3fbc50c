"""What a configuration is made of: one frozen record for each row, named with the words of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import attrs

from slaq.promise import Channel

Key: TypeAlias = tuple[Any, ...]

CHANNELS = tuple(channel.value for channel in Channel)
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
RECIPIENTS = ("assignee", "board_manager", "escalation_manager")
Escalation: TypeAlias = tuple[int | None, int | None, int | None]
DEFAULT_ESCALATION: Escalation = (70, 90, 110)


@attrs.frozen(kw_only=True)
class Record:
    """One row, known within its tenant by its key."""

    kind: ClassVar[str]
    table: ClassVar[str]
    """Its table in the file, and in the names of the statements that write it."""
    keys: ClassVar[tuple[str, ...]] = ("id",)
    references: ClassVar[Mapping[str, type[Record]]] = MappingProxyType({})
    """Fields that name another record."""
    parent: ClassVar[str | None] = None
    """The field that names the record this one is a part of."""

    @property
    def key(self) -> Key:
        return tuple(getattr(self, name) for name in self.keys)

    @property
    def path(self) -> tuple[str, ...]:
        """Where the record stands in the table of its tenant."""
        return (self.table, *map(str, self.key))


@attrs.frozen(kw_only=True)
class Tenant(Record):
    kind = "tenant"
    table = "tenants"
    id: str
    name: str = ""


@attrs.frozen(kw_only=True)
class Settings(Record):
    kind = "settings"
    table = "settings"
    keys = ()
    pause_on_awaiting_client: bool = True
    response_state_tracking: bool = True


@attrs.frozen(kw_only=True)
class User(Record):
    kind = "user"
    table = "users"
    id: str
    name: str
    email: str | None = None
    is_active: bool = True


@attrs.frozen(kw_only=True)
class Priority(Record):
    kind = "priority"
    table = "priorities"
    id: str
    name: str
    itil_level: int | None = None


@attrs.frozen(kw_only=True)
class Status(Record):
    kind = "status"
    table = "statuses"
    id: str
    name: str
    is_closed: bool = False
    pauses_sla: bool = False


@attrs.frozen(kw_only=True)
class Schedule(Record):
    kind = "schedule"
    table = "schedules"
    id: str
    name: str
    timezone: str
    is_default: bool = False
    is_24x7: bool = False


def _plain_time(text: str) -> str:
    """``09:00:00`` as ``09:00``, ``09:00:30.50`` as ``09:00:30.5``: one spelling for each time."""
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.removesuffix(":00") if text.count(":") == 2 else text


@attrs.frozen(kw_only=True)
class Hours(Record):
    """One opening of a schedule, beginning on one weekday (0 = Sunday)."""

    kind = "hours"
    table = "hours"
    keys = ("schedule", "day", "start")
    references = MappingProxyType({"schedule": Schedule})
    parent = "schedule"
    schedule: str
    day: int
    start: str = attrs.field(converter=_plain_time)
    end: str = attrs.field(converter=_plain_time)
    is_enabled: bool = True

    @property
    def path(self) -> tuple[str, ...]:
        return ("schedules", self.schedule, "hours", DAYS[self.day])


@attrs.frozen(kw_only=True)
class Holiday(Record):
    """A closed date: ``2026-12-25``, or ``12-25`` of every year. With the schedule ``""``, it is of all schedules."""

    kind = "holiday"
    table = "holidays"
    keys = ("schedule", "date")
    references = MappingProxyType({"schedule": Schedule})
    parent = "schedule"
    schedule: str
    date: str
    name: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        return ("schedules", self.schedule, "holidays") if self.schedule else ("holidays",)


@attrs.frozen(kw_only=True)
class Policy(Record):
    kind = "policy"
    table = "policies"
    references = MappingProxyType({"schedule": Schedule})
    id: str
    name: str
    description: str | None = None
    is_default: bool = False
    schedule: str | None = None


def _levels(percents: Iterable[int | None]) -> Escalation:
    first, second, third = percents
    return first, second, third


@attrs.frozen(kw_only=True)
class Target(Record):
    """What a policy promises tickets of one priority, in minutes of business time."""

    kind = "target"
    table = "targets"
    keys = ("policy", "priority")
    references = MappingProxyType({"policy": Policy, "priority": Priority})
    parent = "policy"
    policy: str
    priority: str
    response: int | None = None
    resolution: int | None = None
    escalation: Escalation = attrs.field(default=DEFAULT_ESCALATION, converter=_levels)
    is_24x7: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        return ("policies", self.policy, "targets", self.priority)


@attrs.frozen
class ItilTarget:
    """A target for all priorities of an ITIL level, whatever they are called; its own ``priority`` is empty."""

    level: int
    target: Target


def _in_order(members: tuple[str, ...]) -> Callable[[Iterable[str]], tuple[str, ...]]:
    """A converter to a tuple in the order of ``members``: these lists are sets."""

    def convert(given: Iterable[str]) -> tuple[str, ...]:
        chosen = set(given)
        return tuple(member for member in members if member in chosen)

    return convert


@attrs.frozen(kw_only=True)
class Threshold(Record):
    kind = "threshold"
    table = "thresholds"
    keys = ("policy", "percent")
    references = MappingProxyType({"policy": Policy})
    parent = "policy"
    policy: str
    percent: int
    type: str = "warning"
    notify: tuple[str, ...] = attrs.field(default=("assignee",), converter=_in_order(RECIPIENTS))
    channels: tuple[str, ...] = attrs.field(default=("in_app",), converter=_in_order(CHANNELS))

    @property
    def path(self) -> tuple[str, ...]:
        return ("policies", self.policy, "thresholds", str(self.percent))


@attrs.frozen(kw_only=True)
class Client(Record):
    kind = "client"
    table = "clients"
    references = MappingProxyType({"policy": Policy})
    id: str
    name: str
    policy: str | None = None


@attrs.frozen(kw_only=True)
class Board(Record):
    kind = "board"
    table = "boards"
    references = MappingProxyType({"manager": User, "policy": Policy})
    id: str
    name: str
    manager: str | None = None
    policy: str | None = None


@attrs.frozen(kw_only=True)
class EscalationManager(Record):
    kind = "escalation manager"
    table = "escalation_managers"
    keys = ("board", "level")
    references = MappingProxyType({"board": Board, "manager": User})
    parent = "board"
    board: str
    level: int
    manager: str | None
    channels: tuple[str, ...] = attrs.field(default=CHANNELS, converter=_in_order(CHANNELS))

    @property
    def path(self) -> tuple[str, ...]:
        return ("boards", self.board, "escalation_managers", str(self.level))


KINDS: tuple[type[Record], ...] = (
    Tenant, Settings, User, Priority, Status, Schedule, Hours, Holiday,
    Policy, Target, Threshold, Client, Board, EscalationManager,
)  # fmt: skip
"""Every kind, those that are referred to before those that refer to them."""


def default_thresholds(policy: str) -> tuple[Threshold, ...]:
    """What a policy warns of unless it says otherwise: 50, 75 and 90 %, and the breach."""
    both = ("in_app", "email")
    return (
        Threshold(policy=policy, percent=50),
        Threshold(policy=policy, percent=75, notify=RECIPIENTS[:2]),
        Threshold(policy=policy, percent=90, notify=RECIPIENTS, channels=both),
        Threshold(policy=policy, percent=100, type="breach", notify=RECIPIENTS, channels=both),
    )
