"""From what is to what a document wants: the state it leads to, what forbids it, and the changes on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from slaq.configuration.document import TenantConfiguration
from slaq.configuration.reader import dotted, near, shown
from slaq.configuration.records import (
    DAYS,
    KINDS,
    Hours,
    Key,
    Policy,
    Priority,
    Record,
    Schedule,
    Target,
    Tenant,
)

State: TypeAlias = Mapping[type[Record], Mapping[Key, Record]]
_Draft: TypeAlias = dict[type[Record], dict[Key, Record]]
R = TypeVar("R", bound=Record)


@attrs.frozen
class Change:
    """One record that is added (no ``before``), changed, or removed (no ``after``)."""

    tenant: str
    before: Record | None
    after: Record | None

    @property
    def record(self) -> Record:
        """The record as it will be, or as it was."""
        return cast("Record", self.after or self.before)

    def __str__(self) -> str:
        """``+ policy gold: name Gold``, ``~ schedule berlin: timezone UTC -> Europe/Berlin``, ``- threshold gold 75``."""
        if self.after is None:
            return f"- {_label(self.record)}"
        sign, parts = ("~", self._changed()) if self.before else ("+", self._given())
        details = ", ".join(parts)
        return f"{sign} {_label(self.record)}{': ' if details else ''}{details}"

    def _changed(self) -> Iterator[str]:
        for name in _fields(self.record):
            before, after = getattr(self.before, name), getattr(self.after, name)
            if before != after:
                yield f"{name} {_said(name, before)} -> {_said(name, after)}"

    def _given(self) -> Iterator[str]:
        for name, default in _fields(self.record).items():
            if (value := getattr(self.record, name)) != default:
                yield f"{name} {_said(name, value)}"


@attrs.frozen
class Difference:
    """What applying a document changes, or would change: an iterable of ``Change``, empty when nothing."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __str__(self) -> str:
        """A line for each change, under the name of its tenant."""
        lines: list[str] = []
        for change, previous in zip(self.changes, (None, *self.changes), strict=False):
            if previous is None or previous.tenant != change.tenant:
                lines.append(f"{change.tenant}:")
            lines.append(f"  {change}")
        return "\n".join(lines)


def _fields(record: Record) -> dict[str, Any]:
    """The fields beside the key, with their defaults."""
    return {field.name: field.default for field in attrs.fields(type(record)) if field.name not in record.keys}


def _label(record: Record) -> str:
    key = [
        DAYS[record.day] if name == "day" and isinstance(record, Hours) else getattr(record, name)
        for name in record.keys
    ]
    return " ".join([record.kind, *(str(part) for part in key if part != "")])


def _said(name: str, value: object) -> str:
    """A value for people."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_said(name, part) for part in cast("tuple[object, ...]", value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    return f"{value}m" if name in ("response", "resolution") else str(value)


def compare(tenant: str, current: State, wanted: State) -> Iterator[Change]:
    """What leads from one state to the other; a record that goes takes its parts along without a word."""
    for kind in KINDS:
        before, after = current[kind], wanted[kind]
        for key, record in after.items():
            if before.get(key) != record:
                yield Change(tenant, before.get(key), record)
        for key, record in before.items():
            if key not in after and not _is_part_of_removed(record, wanted):
                yield Change(tenant, record, None)


def _is_part_of_removed(record: Record, wanted: State) -> bool:
    if record.parent is None or not getattr(record, record.parent):
        return False
    return (getattr(record, record.parent),) not in wanted[record.references[record.parent]]


def plan(document: TenantConfiguration, current: State, *, prune: bool) -> tuple[State, list[str]]:
    """The state that ``document`` leads to, and what is wrong with it.

    What the document has is as it says, parts included. What it does not have stays, unless ``prune``
    is set and the document has the table it would stand in.
    """
    draft: _Draft = {}
    for kind in KINDS:
        given = dict(document.of(kind))
        if kind is Tenant:
            given = _tenant(document, current)
        if kind is Target:
            given = {**_itil_targets(document, draft), **given}
        kept = {
            key: record
            for key, record in current[kind].items()
            if key not in given and _stays(record, document, draft, prune=prune or document.prune)
        }
        draft[kind] = {**kept, **given}
    _move_defaults(document, draft)
    problems = [*_unknown_references(document, draft), *_let_go(document, draft), *_name_clashes(document, draft)]
    return draft, problems + _empty_itil_policies(document, draft)


def _tenant(document: TenantConfiguration, current: State) -> dict[Key, Record]:
    known = next(iter(_of(current, Tenant).values()), Tenant(id=document.tenant))
    return {known.key: known if document.name is None else attrs.evolve(known, name=document.name)}


def _of(state: State, kind: type[R]) -> Mapping[Key, R]:
    return cast("Mapping[Key, R]", state[kind])


def _itil_targets(document: TenantConfiguration, draft: State) -> dict[Key, Record]:
    """The targets that ITIL levels mean for the priorities there are."""
    targets = [
        attrs.evolve(each.target, priority=priority.id)
        for each in document.itil_targets
        for priority in _of(draft, Priority).values()
        if priority.itil_level == each.level
    ]
    return {target.key: target for target in targets}


def _stays(record: Record, document: TenantConfiguration, draft: State, *, prune: bool) -> bool:
    """Whether a record that the document does not have is kept; ``draft`` holds what it may depend on."""
    if record.parent is None:
        return not (prune and record.table in document.tables)
    part_of = getattr(record, record.parent)
    gone = any(
        name in record.keys and getattr(record, name) and (getattr(record, name),) not in draft[kind]
        for name, kind in record.references.items()
    )
    return not gone and not document.describes(type(record), part_of)


def _move_defaults(document: TenantConfiguration, draft: _Draft) -> None:
    """There is one default: when the document names one, the record that was it no longer is."""
    for kind in (Schedule, Policy):
        new = next((record.key for record in document.of(kind).values() if record.is_default), None)
        for key, record in list(_of(draft, kind).items()):
            if new and key != new and record.is_default:
                draft[kind][key] = attrs.evolve(record, is_default=False)


def _unknown_references(document: TenantConfiguration, draft: State) -> Iterator[str]:
    """What the document refers to and what neither it nor the database has."""
    for kind in KINDS:
        for record in document.of(kind).values():
            for field, referred in record.references.items():
                id = getattr(record, field)
                if id and (id,) not in draft[referred]:
                    place = dotted(
                        ("tenants", document.tenant, *record.path, *(() if field in record.keys else (field,)))
                    )
                    hint = near(id, (key[0] for key in draft[referred]))
                    yield f"{place}: {shown(id)} is no {referred.kind} of this file or of the tenant{hint}"


def _let_go(document: TenantConfiguration, draft: _Draft) -> Iterator[str]:
    """Take what goes out of the records that stay, as the database would; it refuses to do so for schedules."""
    for kind in KINDS:
        for key, record in list(draft[kind].items()):
            lost = [] if key in document.of(kind) else _lost(record, draft)
            if isinstance(record, Policy) and lost:
                place = dotted(("tenants", document.tenant, "schedules"))
                yield f"{place}: {shown(record.schedule)} cannot be removed: policy {shown(record.id)}, which stays, uses it"
            draft[kind][key] = attrs.evolve(record, **dict.fromkeys(lost))


def _lost(record: Record, draft: State) -> list[str]:
    """The fields in which a record refers to what is gone."""
    return [
        field
        for field, referred in record.references.items()
        if field not in record.keys and (id := getattr(record, field)) and (id,) not in draft[referred]
    ]


def _name_clashes(document: TenantConfiguration, draft: State) -> Iterator[str]:
    """Policies of the document whose name a policy that stays has already."""
    kept = {policy.name: policy.id for key, policy in _of(draft, Policy).items() if key not in document.of(Policy)}
    for policy in document.of(Policy).values():
        if policy.name in kept:
            place = dotted(("tenants", document.tenant, *policy.path, "name"))
            yield (
                f"{place}: {shown(policy.name)} is already the name of policy {shown(kept[policy.name])} of the tenant; "
                "rename one of them, or use that id in the file"
            )


def _empty_itil_policies(document: TenantConfiguration, draft: State) -> list[str]:
    """Policies that would promise nothing because no priority has an ITIL level that they know."""
    promising = {target.policy for target in _of(draft, Target).values()}
    empty = {each.target.policy for each in document.itil_targets} - promising
    return [
        f"{dotted(('tenants', document.tenant, 'policies', id, 'itil_targets'))}: "
        "no priority of this tenant has an itil_level that is listed here, so the policy would promise nothing"
        for id in sorted(empty)
    ]
