"""The verbs, each written once as steps for the sync and the async service alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from slaq.backends.base import SlaBackend
from slaq.clock import Clock
from slaq.errors import UnknownTicket
from slaq.facts import FactKind, PauseSource
from slaq.promise import Phase
from slaq.services.changes import Change, Moments, align, is_noop
from slaq.services.crossing import settlement_document
from slaq.services.ticket import Ticket, checked_source, checked_text, checked_ticket, instant_of
from slaq.status import SlaStatus, status_of
from slaq.store.database import Statement, Steps
from slaq.store.queries import query
from slaq.store.tickets import lock_ticket, open_ticket, read_ticket
from slaq.timeline import Settlement, fold, settle_change

Decide: TypeAlias = Callable[[Change], None]


class Verbs:
    """What can be done to a ticket, as steps; the services run them over a connection."""

    def __init__(self, backend: SlaBackend, clock: Clock, schema: str) -> None:
        self._backend = backend
        self._clock = clock
        self._schema = schema

    def sync_ticket(self, tenant: str, ticket: Ticket, actor: str | None) -> Steps[SlaStatus]:
        checked_ticket(ticket)
        moments = Moments(
            status=ticket.status_changed_at, response_state=ticket.response_state_changed_at, closed=ticket.closed_at
        )

        def decide(change: Change) -> None:
            _check_instants(change, ticket)
            align(change, moments)

        return self._change(tenant, ticket.ticket_id, ticket.fields(), decide, actor)

    def sync_tickets(self, tenant: str, tickets: Sequence[Ticket], actor: str | None) -> Steps[list[SlaStatus]]:
        """Several tickets, locked in the order of their ids."""
        statuses: dict[str, SlaStatus] = {}
        for ticket in sorted(tickets, key=lambda ticket: ticket.ticket_id):
            statuses[ticket.ticket_id] = yield from self.sync_ticket(tenant, ticket, actor)
        return [statuses[ticket.ticket_id] for ticket in tickets]

    def start(self, tenant: str, ticket: Ticket | str, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields: dict[str, Any] = {"is_cancelled": False}
        moments = Moments(retargeted=at, status=at, response_state=at)
        if isinstance(ticket, Ticket):
            fields |= ticket.fields()
            moments = Moments(
                at, ticket.status_changed_at or at, ticket.response_state_changed_at or at, ticket.closed_at
            )
        ticket_id = ticket.ticket_id if isinstance(ticket, Ticket) else ticket

        def decide(change: Change) -> None:
            if isinstance(ticket, Ticket):
                _check_instants(change, ticket)
            if change.is_new and at is not None:
                change.fields["entered_at"] = change.moment(at)
            align(change, moments)

        return self._change(tenant, ticket_id, fields, decide, actor, at=at)

    def record(
        self, tenant: str, ticket_id: str, kind: FactKind, at: datetime | None, actor: str | None
    ) -> Steps[SlaStatus]:
        """Record that the ticket was answered, resolved or reopened."""

        def decide(change: Change) -> None:
            change.note(kind, change.moment(at))
            if kind is FactKind.REOPENED:
                align(change, Moments(status=at, response_state=at), reopen=True)

        return self._change(tenant, ticket_id, {}, decide, actor, at=at)

    def pause(
        self, tenant: str, ticket_id: str, source: PauseSource, at: datetime | None, actor: str | None
    ) -> Steps[SlaStatus]:
        held = checked_source(source)
        return self._change(tenant, ticket_id, {}, lambda change: change.pause(held, change.moment(at)), actor)

    def resume(
        self, tenant: str, ticket_id: str, source: PauseSource, at: datetime | None, actor: str | None
    ) -> Steps[SlaStatus]:
        held = checked_source(source)
        return self._change(tenant, ticket_id, {}, lambda change: change.resume(held, change.moment(at)), actor)

    def change_status(
        self, tenant: str, ticket_id: str, status_id: str, at: datetime | None, actor: str | None
    ) -> Steps[SlaStatus]:
        fields = {"status_id": checked_text(status_id, "status_id")}

        def decide(change: Change) -> None:
            if change.rules.is_closed and change.row.get("closed_at") is None:
                change.fields["closed_at"] = change.moment(at)
            elif not change.rules.is_closed:
                change.fields["closed_at"] = None
            align(change, Moments(status=at, closed=at))

        return self._change(tenant, ticket_id, fields, decide, actor, at=at)

    def realign(
        self,
        tenant: str,
        ticket_id: str,
        fields: Mapping[str, Any],
        at: datetime | None,
        actor: str | None,
        cause: str | None = None,
    ) -> Steps[SlaStatus]:
        """Lay ``fields`` over the ticket and do what follows; with none, do what its configuration asks today."""
        moments = Moments(retargeted=at, response_state=at)
        return self._change(tenant, ticket_id, fields, lambda change: align(change, moments), actor, cause, at=at)

    def delete(self, tenant: str, ticket_id: str, actor: str | None) -> Steps[bool]:
        """Forget the ticket; its audit log stays. Whether there was one."""
        checked_text(ticket_id, "ticket_id")
        _check_actor(actor)
        _, database_now = yield from lock_ticket(tenant, ticket_id, {}, self._schema)
        yield from self._backend.cancel_sla(tenant, ticket_id)
        now = self._clock.read(database_now)
        rows = yield self._statement("forget_ticket", tenant=tenant, ticket=ticket_id, actor=actor, now=now)
        return bool(rows[0][0])

    def status(self, tenant: str, ticket_id: str, at: datetime | None) -> Steps[SlaStatus]:
        """How the ticket stands at ``at``, from the facts up to then."""
        state, database_now = yield from read_ticket(tenant, checked_text(ticket_id, "ticket_id"), self._schema)
        if state.row is None:
            raise _unknown(tenant, ticket_id)
        moment = self._clock.read(database_now) if at is None else instant_of(at, "at")
        owner = yield from self._backend.get_sla_status(tenant, ticket_id)
        crossed = tuple(record for record in state.records if record.crossing.crossed_at <= moment)
        return status_of(ticket_id, fold(state.facts, moment), crossed, moment, owner or state.backend)

    def _change(
        self,
        tenant: str,
        ticket_id: str,
        fields: Mapping[str, Any],
        decide: Decide,
        actor: str | None,
        cause: str | None = None,
        *,
        at: datetime | None = None,
    ) -> Steps[SlaStatus]:
        """Lock, decide, settle, write, and tell the backend."""
        checked_text(ticket_id, "ticket_id")
        _check_actor(actor)
        state, rules, database_now = yield from open_ticket(tenant, ticket_id, fields, self._schema)
        if state.row is None and "ticket_number" not in fields:
            raise _unknown(tenant, ticket_id)
        change = Change(state, rules, self._clock.read(database_now), dict(fields), actor, cause)
        change.moment(at)
        decide(change)
        settlement = settle_change(state.facts, change.facts, state.records, change.now)
        if not is_noop(change) or settlement.told or settlement.voided or settlement.revived:
            yield self._statement(
                "settle_ticket",
                tenant=tenant,
                ticket=ticket_id,
                version=None,
                change=settlement_document(
                    state,
                    settlement,
                    change.now,
                    "application",
                    fields=change.fields,
                    facts=change.fact_documents(),
                    promise=change.promise_document(),
                    audit=change.audit(settlement.clocks),
                ),
            )
            yield from self._tell_backend(change, settlement)
        owner = (yield from self._backend.get_sla_status(tenant, ticket_id)) or state.backend
        return status_of(ticket_id, settlement.clocks, settlement.records, change.now, owner)

    def _tell_backend(self, change: Change, settlement: Settlement) -> Steps[None]:
        tenant, ticket_id, clocks = change.state.tenant, change.state.ticket_id, settlement.clocks
        for fact in change.facts if clocks is not None else ():
            match fact.kind:
                case FactKind.STARTED | FactKind.RETARGETED if change.rules.promise.is_targeted:
                    yield from self._backend.start_sla_tracking(tenant, ticket_id)
                case FactKind.STARTED | FactKind.RETARGETED:
                    yield from self._backend.cancel_sla(tenant, ticket_id)
                case FactKind.PAUSED if fact.source is not None:
                    yield from self._backend.pause_sla(tenant, ticket_id, fact.source.value)
                case FactKind.RESUMED:
                    yield from self._backend.resume_sla(tenant, ticket_id)
                case FactKind.ANSWERED if clocks is not None:
                    met = clocks.response.met(change.now)
                    yield from self._backend.complete_sla(tenant, ticket_id, Phase.RESPONSE, met=met)
                case FactKind.RESOLVED if clocks is not None:
                    met = clocks.resolution.met(change.now)
                    yield from self._backend.complete_sla(tenant, ticket_id, Phase.RESOLUTION, met=met)
                case _:
                    yield from self._backend.start_sla_tracking(tenant, ticket_id)

    def _statement(self, name: str, **parameters: Any) -> Statement:
        return Statement(query("tickets", name, self._schema), parameters)


def _check_instants(change: Change, ticket: Ticket) -> None:
    for name, instant in ticket.instants().items():
        change.moment(instant, name)


def _check_actor(actor: object) -> None:
    if actor is not None:
        checked_text(actor, "actor")


def _unknown(tenant: str, ticket_id: str) -> UnknownTicket:
    return UnknownTicket(
        f"tenant {tenant!r} has no ticket {ticket_id!r}: hand it over with sync_ticket or start_sla_for_ticket first"
    )
