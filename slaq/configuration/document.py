"""Reading what a document says of one tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from slaq.configuration.reader import (
    Table,
    as_key,
    choice,
    email,
    flag,
    label,
    minutes,
    number_of,
    percent,
    shown,
    some_of,
    text,
)
from slaq.configuration.records import (
    CHANNELS,
    DEFAULT_ESCALATION,
    RECIPIENTS,
    Board,
    Client,
    Escalation,
    EscalationManager,
    Holiday,
    ItilTarget,
    Key,
    Policy,
    Priority,
    Record,
    Schedule,
    Settings,
    Status,
    Target,
    Threshold,
    User,
    default_thresholds,
)
from slaq.configuration.schedules import read_holidays, read_schedules

Records: TypeAlias = Mapping[Key, Record]
R = TypeVar("R", bound=Record)


@attrs.frozen
class TenantConfiguration:
    """What a document says of one tenant."""

    tenant: str
    name: str | None
    """Absent: as it is."""
    prune: bool
    tables: frozenset[str]
    """The tables and keys that the document has; it says nothing of the others."""
    records: Mapping[type[Record], Records]
    itil_targets: tuple[ItilTarget, ...] = ()

    def of(self, kind: type[R]) -> Mapping[Key, R]:
        """The records of one kind."""
        return cast("Mapping[Key, R]", self.records.get(kind, {}))

    def describes(self, kind: type[Record], part_of: str | None) -> bool:
        """Whether all parts of this kind that belong to ``part_of`` are as the document says."""
        if kind is Holiday and not part_of:
            return "holidays" in self.tables
        parent = kind.references[kind.parent or ""]
        return (part_of,) in self.of(parent)


def read_tenant(tenant: str, table: Table) -> TenantConfiguration:
    """What ``table`` says; mistakes are noted in it."""
    shared = read_holidays(table, "")
    found: list[Record | ItilTarget] = [*shared]
    if table.has("settings"):
        found.append(_read_settings(table.table("settings")))
    found += read_schedules(table.table("schedules"), shared)
    for name, read in _READERS.items():
        for id, entry in table.table(name).tables():
            found += read(id, entry)
            entry.close()
    configuration = TenantConfiguration(
        tenant=tenant,
        name=table.take("name", label, None),
        prune=table.take("prune", flag, default=False),
        tables=frozenset(table.values),
        records=_by_kind([record for record in found if isinstance(record, Record)]),
        itil_targets=tuple(target for target in found if isinstance(target, ItilTarget)),
    )
    table.close()
    _check_defaults(configuration, table)
    _check_names(configuration, table)
    return configuration


def _by_kind(records: list[Record]) -> dict[type[Record], dict[Key, Record]]:
    kinds: dict[type[Record], dict[Key, Record]] = {}
    for record in records:
        kinds.setdefault(type(record), {})[record.key] = record
    return kinds


def _check_defaults(configuration: TenantConfiguration, table: Table) -> None:
    for kind in (Schedule, Policy):
        defaults = [record.id for record in configuration.of(kind).values() if record.is_default]
        for id in defaults[1:]:
            table.note((kind.table, id, "is_default"), True, f"makes a second default beside {shown(defaults[0])}")


def _check_names(configuration: TenantConfiguration, table: Table) -> None:
    names: dict[str, str] = {}
    for policy in configuration.of(Policy).values():
        if policy.name in names:
            table.note(
                (*policy.path, "name"), policy.name, f"is already the name of policy {shown(names[policy.name])}"
            )
        names[policy.name] = policy.id


def _read_settings(table: Table) -> Settings:
    settings = Settings(
        pause_on_awaiting_client=table.take("pause_on_awaiting_client", flag, default=True),
        response_state_tracking=table.take("response_state_tracking", flag, default=True),
    )
    table.close()
    return settings


def _read_user(id: str, table: Table) -> Iterator[Record]:
    yield User(
        id=id,
        name=table.take("name", label, id),
        email=table.take("email", email, None),
        is_active=table.take("is_active", flag, default=True),
    )


def _read_priority(id: str, table: Table) -> Iterator[Record]:
    yield Priority(
        id=id, name=table.take("name", label, id), itil_level=table.take("itil_level", number_of(1, 5), None)
    )


def _read_status(id: str, table: Table) -> Iterator[Record]:
    yield Status(
        id=id,
        name=table.take("name", label, id),
        is_closed=table.take("is_closed", flag, default=False),
        pauses_sla=table.take("pauses_sla", flag, default=False),
    )


def _read_client(id: str, table: Table) -> Iterator[Record]:
    yield Client(id=id, name=table.take("name", label, id), policy=table.take("policy", text, None))


def _read_board(id: str, table: Table) -> Iterator[Record]:
    yield Board(
        id=id,
        name=table.take("name", label, id),
        manager=table.take("manager", text, None),
        policy=table.take("policy", text, None),
    )
    managers = table.table("escalation_managers")
    level = as_key(number_of(1, 3))
    for name in managers.names(level):
        entry = managers.table(name)
        yield EscalationManager(
            board=id,
            level=level(name),
            manager=entry.need("manager", text, None),
            channels=entry.take("channels", some_of(*CHANNELS), CHANNELS),
        )
        entry.close()


def _read_policy(id: str, table: Table) -> Iterator[Record | ItilTarget]:
    yield Policy(
        id=id,
        name=table.take("name", label, id),
        description=table.take("description", text, None),
        is_default=table.take("is_default", flag, default=False),
        schedule=table.take("schedule", text, None),
    )
    for priority, entry in table.table("targets").tables():
        yield _read_target(id, priority, entry)
    levels = table.table("itil_targets")
    level = as_key(number_of(1, 5))
    for name in levels.names(level):
        yield ItilTarget(level(name), _read_target(id, "", levels.table(name)))
    thresholds = table.table("thresholds")
    yield from _read_thresholds(id, thresholds) if table.has("thresholds") else default_thresholds(id)


def _read_target(policy: str, priority: str, table: Table) -> Target:
    problems = len(table.problems)
    target = Target(
        policy=policy,
        priority=priority,
        response=table.take("response", minutes, None),
        resolution=table.take("resolution", minutes, None),
        escalation=_read_escalation(table) if table.has("escalation") else DEFAULT_ESCALATION,
        is_24x7=table.take("is_24x7", flag, default=False),
    )
    table.close()
    if target.response is target.resolution is None and len(table.problems) == problems:
        table.note((), table.values, "promises neither a response nor a resolution")
    return target


def _read_escalation(table: Table) -> Escalation:
    """The percentage of each level; levels that are left out are off."""
    levels = table.table("escalation")
    given = {int(name): levels.take(name, percent, None) for name in levels.names(as_key(number_of(1, 3)))}
    rising = [given[level] or 0 for level in sorted(given)]
    if all(rising) and any(low >= high for low, high in pairwise(rising)):
        table.note(("escalation",), levels.values, "does not rise from level to level")
    return given.get(1), given.get(2), given.get(3)


def _read_thresholds(policy: str, table: Table) -> Iterator[Threshold]:
    percentage = as_key(percent)
    for name in table.names(percentage):
        entry = table.table(name)
        yield Threshold(
            policy=policy,
            percent=percentage(name),
            type=entry.take("type", choice("warning", "breach"), "breach" if percentage(name) >= 100 else "warning"),
            notify=entry.take("notify", some_of(*RECIPIENTS), ("assignee",)),
            channels=entry.take("channels", some_of(*CHANNELS), ("in_app",)),
        )
        entry.close()


_READERS: dict[str, Callable[[str, Table], Iterator[Any]]] = {
    "users": _read_user,
    "priorities": _read_priority,
    "statuses": _read_status,
    "policies": _read_policy,
    "clients": _read_client,
    "boards": _read_board,
}
