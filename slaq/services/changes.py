"""What follows from a change of a ticket: the facts it makes, decided without any I/O.

Everything that can change a ticket ends in ``align``: lay the new fields over the stored ones, compare
what configuration and fields now ask for with what the clocks do, and note the facts in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from slaq.errors import InvalidInstant
from slaq.facts import Fact, FactKind, PauseSource
from slaq.services.ticket import TOLERANCE, instant_of
from slaq.store.tickets import Rules, TicketState, instant
from slaq.timeline import Clocks, fold

_TICK = timedelta(microseconds=1)
_PROMISING = (FactKind.STARTED, FactKind.RETARGETED)
_AUDIT_NAMES = {
    FactKind.STARTED: "sla_started",
    FactKind.PAUSED: "sla_paused",
    FactKind.RESUMED: "sla_resumed",
    FactKind.ANSWERED: "response_recorded",
    FactKind.RESOLVED: "resolution_recorded",
    FactKind.REOPENED: "sla_reopened",
}


@attrs.frozen
class Moments:
    """When the parts of a change happened; ``None`` means at the moment of the call."""

    retargeted: datetime | None = None
    status: datetime | None = None
    response_state: datetime | None = None
    closed: datetime | None = None


@attrs.define
class Change:
    """A change of one ticket while it is being decided."""

    state: TicketState
    rules: Rules
    now: datetime
    fields: dict[str, Any]
    actor: str | None = None
    cause: str | None = None
    facts: list[Fact] = attrs.field(factory=list)
    clocks: Clocks | None = None
    _folded: int = -1

    @property
    def row(self) -> dict[str, Any]:
        """The ticket's columns with this change laid over them."""
        return {**(self.state.row or {}), **self.fields}

    @property
    def is_new(self) -> bool:
        """Whether slaq sees this ticket for the first time."""
        return self.state.row is None

    def folded(self) -> Clocks | None:
        """The clocks with the facts of this change."""
        if self._folded != len(self.facts):
            self.clocks = fold((*self.state.facts, *self.facts))
            self._folded = len(self.facts)
        return self.clocks

    def moment(self, at: datetime | None, name: str = "at") -> datetime:
        """``at``, or now; refuses what lies more than a minute ahead."""
        if at is None:
            return self.now
        moment = instant_of(at, name)
        if moment > self.now + TOLERANCE:
            raise InvalidInstant(
                f"{name} {moment.isoformat()} lies more than a minute ahead of {self.now.isoformat()}: "
                "facts are recorded once they have happened"
            )
        return moment

    def note(self, kind: FactKind, at: datetime, source: PauseSource | None = None) -> None:
        """Note a fact, unless the same kind, source and instant is known already."""
        if kind is FactKind.RETARGETED or not self._is_known(kind, at, source):
            promise = self.rules.promise if kind in _PROMISING else None
            self.facts.append(Fact(kind, at, self.now, source, promise, self.state.version + 1))

    def _is_known(self, kind: FactKind, at: datetime, source: PauseSource | None) -> bool:
        return any((f.kind, f.source, f.at) == (kind, source, at) for f in (*self.state.facts, *self.facts))

    def pause(self, source: PauseSource, at: datetime) -> None:
        self.note(FactKind.PAUSED, at, source)

    def resume(self, source: PauseSource, at: datetime) -> None:
        """End a pause; up to a minute before its start counts as its start, more is refused."""
        clocks = self.folded()
        paused_at = clocks.holds.get(source) if clocks is not None else None
        if paused_at is not None and at < paused_at and not self._is_known(FactKind.RESUMED, at, source):
            if paused_at - at > TOLERANCE:
                raise InvalidInstant(
                    f"ticket {self.state.ticket_id!r} cannot be resumed at {at.isoformat()}: "
                    f"its pause ({source.value}) began at {paused_at.isoformat()}"
                )
            at = paused_at
        self.note(FactKind.RESUMED, at, source)

    def fact_documents(self) -> list[dict[str, Any]]:
        """The facts as they are stored."""
        return [
            {"kind": fact.kind, "source": fact.source, "at": fact.at, "actor": self.actor} for fact in self.facts
        ]

    def promise_document(self) -> dict[str, Any] | None:
        """The promise that a fact of this change begins, as it is stored."""
        is_new = any(fact.promise is not None for fact in self.facts)
        return {"content": self.rules.content, "body": self.rules.body} if is_new else None

    def audit(self, after: Clocks | None) -> list[dict[str, Any]]:
        """One entry for each fact that had an effect, and one for a verdict that it corrected."""
        entries = []
        first = before = fold(self.state.facts)
        for count, fact in enumerate(self.facts, 1):
            now = fold((*self.state.facts, *self.facts[:count]))
            if now != before:
                entries.append(self._entry(fact, after))
            before = now
        if first is None or after is None:
            return entries
        return [*entries, *self._corrections(first, after)]

    def _corrections(self, before: Clocks, after: Clocks) -> Iterator[dict[str, Any]]:
        """Verdicts that stood until now and are others; one that a reopening merely takes back is none."""
        for old, new in zip(before.phases, after.phases, strict=True):
            verdict, corrected = old.met(self.now - _TICK), new.met(self.now)
            if (verdict is False and corrected is not False) or (verdict is True and corrected is False):
                data = {"phase": new.phase, "from": verdict, "to": corrected, "finished_at": new.finished_at}
                yield {"event_type": "verdict_corrected", "event_data": data, "triggered_by": self.actor}

    def _entry(self, fact: Fact, after: Clocks | None) -> dict[str, Any]:
        data: dict[str, Any] = {"at": fact.at}
        if fact.source is not None:
            data["source"] = fact.source
        if after is not None:
            data |= {f"{clock.phase.value}_due_at": clock.due_at for clock in after.phases if clock.target is not None}
            if fact.kind in (FactKind.ANSWERED, FactKind.RESOLVED):
                clock = after.response if fact.kind is FactKind.ANSWERED else after.resolution
                data["met"] = clock.met(self.now)
        if fact.promise is not None:
            data |= {"policy_id": fact.promise.policy_id, "priority_id": self.row.get("priority_id")}
            data |= {f"{name}_minutes": self.rules.body.get(f"{name}_minutes") for name in ("response", "resolution")}
        if fact.kind is FactKind.STARTED:
            data["created_in_closed_status"] = any(f.kind is FactKind.RESOLVED and f.at <= fact.at for f in self.facts)
        if fact.kind is FactKind.RETARGETED:
            data |= {"old_policy_id": self._old_policy_id, "old_priority_id": (self.state.row or {}).get("priority_id")}
        name = self._retarget_name(fact) if fact.kind is FactKind.RETARGETED else _AUDIT_NAMES[fact.kind]
        return {"event_type": name, "event_data": data, "triggered_by": self.actor}

    def _retarget_name(self, fact: Fact) -> str:
        stored = self.state.row or {}
        if self.cause is not None:
            return self.cause
        if stored.get("is_cancelled") and not self.row["is_cancelled"]:
            return "sla_restarted"
        if stored.get("priority_id") != self.row.get("priority_id"):
            return "priority_changed"
        is_same_policy = fact.promise is not None and self._old_policy_id == fact.promise.policy_id
        return "sla_retargeted" if is_same_policy else "sla_policy_changed"

    @property
    def _old_policy_id(self) -> str | None:
        """The policy of the promise so far, which may be deleted by now."""
        return next((fact.promise.policy_id for fact in reversed(self.state.facts) if fact.promise is not None), None)


def align(change: Change, moments: Moments, *, reopen: bool = False) -> None:
    """Note every fact that lies between what the ticket was and what its fields and rules now ask for.

    It owns the pause sources ``status`` and ``awaiting_client`` alone, and resolves or reopens only when
    what it last knew of the ticket's being closed has changed, so it never undoes a verb called by hand.
    """
    is_closed = change.row.get("closed_at") is not None or bool(change.rules.is_closed)
    was_closed = bool((change.state.row or {}).get("is_closed"))
    change.fields["is_closed"] = is_closed
    change.fields["sla_promise_id"] = None
    _align_promise(change, moments, is_closed=is_closed)
    if was_closed and not is_closed:
        change.note(FactKind.REOPENED, change.moment(moments.status, "status_changed_at"))
    if not is_closed or reopen:
        _align_pauses(change, moments)
    if is_closed and (not was_closed or _is_closed_anew(change)):
        change.note(FactKind.RESOLVED, _closed_at(change, moments))


def _align_promise(change: Change, moments: Moments, *, is_closed: bool) -> None:
    started = any(fact.kind is FactKind.STARTED for fact in change.state.facts)
    if not started:
        if change.rules.promise.policy_id is None or (is_closed and not change.is_new):
            return  # what was closed without a promise is not judged by a later one
        entered = change.row["entered_at"]
        entered = entered if isinstance(entered, datetime) else instant(entered)
        change.note(FactKind.STARTED, entered if change.is_new else change.moment(moments.retargeted))
    elif change.rules.content != change.state.content:
        latest = max(fact.at for fact in change.state.facts if fact.promise is not None)
        change.note(FactKind.RETARGETED, max(change.moment(moments.retargeted), latest))
    change.fields["sla_promise_id"] = change.rules.content


def _align_pauses(change: Change, moments: Moments) -> None:
    """Hold the ticket for the sources that ask for it, and let go for those that no longer do."""
    clocks = change.folded()
    if clocks is None or not clocks.is_open:
        return
    wanted: Sequence[tuple[PauseSource, bool, datetime | None, str]] = (
        (PauseSource.STATUS, change.rules.pauses, moments.status, "status_changed_at"),
        (
            PauseSource.AWAITING_CLIENT,
            change.rules.pauses_awaiting_client and change.row.get("response_state") == "awaiting_client",
            moments.response_state,
            "response_state_changed_at",
        ),
    )
    for source, is_wanted, at, name in wanted:
        is_held = source in clocks.holds
        if is_wanted and not is_held:
            change.pause(source, clocks.started_at if change.is_new and at is None else change.moment(at, name))
        elif is_held and not is_wanted:
            change.resume(source, change.moment(at, name))


def _is_closed_anew(change: Change) -> bool:
    """Whether a ticket that was known as closed is now closed at another instant."""
    stored = (change.state.row or {}).get("closed_at")
    closed_at = change.fields.get("closed_at")
    return stored is not None and closed_at is not None and not _same(stored, closed_at)


def _closed_at(change: Change, moments: Moments) -> datetime:
    if moments.closed is not None:
        return change.moment(moments.closed, "closed_at")
    return change.moment(moments.status, "status_changed_at")


def is_noop(change: Change) -> bool:
    """Whether neither a fact nor a stored field changes."""
    stored: Mapping[str, Any] = change.state.row or {}
    return not change.facts and not change.is_new and all(_same(stored.get(k), v) for k, v in change.fields.items())


def _same(stored: Any, value: Any) -> bool:
    if isinstance(value, datetime):
        return stored is not None and instant(stored) == value
    return bool(stored == value)
