"""The two faces of the service: async and sync, the same verbs over the caller's connection."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection

from slaq.backends.base import SlaBackend
from slaq.backends.polling import PollingSlaBackend
from slaq.clock import Clock, DatabaseClock
from slaq.facts import FactKind, PauseSource
from slaq.services.ticket import Ticket, checked_response_state, checked_text, checked_ticket
from slaq.services.verbs import Verbs
from slaq.status import SlaStatus
from slaq.store.database import Steps, run, run_async
from slaq.store.queries import DEFAULT_SCHEMA
from slaq.store.tenancy import current_tenant


class _Calls:
    """What both services do: name the steps of each verb for the current tenant."""

    def __init__(
        self, backend: SlaBackend | None = None, clock: Clock | None = None, schema: str = DEFAULT_SCHEMA
    ) -> None:
        self._verbs = Verbs(backend or PollingSlaBackend(), clock or DatabaseClock(), schema)

    def _sync_tickets(self, tickets: Iterable[Ticket], actor: str | None) -> Steps[list[SlaStatus]]:
        return self._verbs.sync_tickets(current_tenant(), [checked_ticket(ticket) for ticket in tickets], actor)

    def _policy(self, ticket_id: str, policy_id: str | None, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields = {
            "pinned_policy_id": None if policy_id is None else checked_text(policy_id, "policy_id"),
            "is_policy_cleared": policy_id is None,
        }
        cause = "sla_policy_cleared" if policy_id is None else "sla_policy_changed"
        return self._verbs.realign(current_tenant(), ticket_id, fields, at, actor, cause)

    def _release(self, ticket_id: str, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields = {"pinned_policy_id": None, "is_policy_cleared": False}
        return self._verbs.realign(current_tenant(), ticket_id, fields, at, actor, "sla_policy_released")

    def _cancel(self, ticket_id: str, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields = {"is_cancelled": True}
        return self._verbs.realign(current_tenant(), ticket_id, fields, at, actor, "sla_cancelled")

    def _priority(self, ticket_id: str, priority_id: str, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields = {"priority_id": checked_text(priority_id, "priority_id")}
        return self._verbs.realign(current_tenant(), ticket_id, fields, at, actor, "priority_changed")

    def _response_state(self, ticket_id: str, state: str | None, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        fields = {"response_state": checked_response_state(state, "response_state")}
        return self._verbs.realign(current_tenant(), ticket_id, fields, at, actor)

    def _record(self, ticket_id: str, kind: FactKind, at: datetime | None, actor: str | None) -> Steps[SlaStatus]:
        return self._verbs.record(current_tenant(), ticket_id, kind, at, actor)


class SlaService(_Calls):
    """SLA verbs for async code. The caller's connection comes first; its transaction takes all writes.

    Every verb must run inside ``run_with_tenant``, commits nothing, and runs in a savepoint: when it
    raises, the transaction is as if it had not been called. ``at`` is the instant of the fact (aware;
    default: now, by the database's clock, once the ticket is locked); ``actor`` is written to the audit
    log. All return the ticket's ``SlaStatus`` after the change.

    Raises ``TenantRequired``, ``TransactionRequired``, ``UnknownTicket``, ``UnknownReference``,
    ``InvalidTicket``, ``InvalidInstant``, ``ConcurrentChange`` (run the transaction again).
    """

    async def sync_ticket(self, conn: AsyncConnection[Any], ticket: Ticket, *, actor: str | None = None) -> SlaStatus:
        """Call after every save of a ticket: it starts, pauses, resumes, retargets, resolves and reopens as needed."""
        return await run_async(conn, self._verbs.sync_ticket(current_tenant(), ticket, actor))

    async def sync_tickets(
        self, conn: AsyncConnection[Any], tickets: Iterable[Ticket], *, actor: str | None = None
    ) -> list[SlaStatus]:
        """``sync_ticket`` for many, all or none, locked in the order of their ids."""
        return await run_async(conn, self._sync_tickets(tickets, actor))

    async def start_sla_for_ticket(
        self, conn: AsyncConnection[Any], ticket: Ticket | str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Start the clocks of a ticket (once; calling it again changes nothing), or lift a cancel."""
        return await run_async(conn, self._verbs.start(current_tenant(), ticket, at, actor))

    async def record_first_response(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was answered at ``at``; the first answer in time counts, in whatever order they arrive."""
        return await run_async(conn, self._record(ticket_id, FactKind.ANSWERED, at, actor))

    async def record_resolution(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was resolved at ``at``, which also stops the response clock."""
        return await run_async(conn, self._record(ticket_id, FactKind.RESOLVED, at, actor))

    async def reopen(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was reopened: its resolution clock runs on, the time it was closed does not count."""
        return await run_async(conn, self._record(ticket_id, FactKind.REOPENED, at, actor))

    async def pause_sla(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        *,
        source: PauseSource = PauseSource.MANUAL,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Hold the clocks on behalf of ``source``; they stand still while any source holds them."""
        return await run_async(conn, self._verbs.pause(current_tenant(), ticket_id, source, at, actor))

    async def resume_sla(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        *,
        source: PauseSource = PauseSource.MANUAL,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Let go for ``source``; the clocks run once no source holds them."""
        return await run_async(conn, self._verbs.resume(current_tenant(), ticket_id, source, at, actor))

    async def handle_status_change(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        status_id: str,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """The ticket has another status: pause, resume, resolve or reopen as the status is configured."""
        return await run_async(conn, self._verbs.change_status(current_tenant(), ticket_id, status_id, at, actor))

    async def handle_response_state_change(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        response_state: str | None,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Whose turn it is: ``awaiting_client``, ``awaiting_internal`` or ``None``."""
        return await run_async(conn, self._response_state(ticket_id, response_state, at, actor))

    async def handle_priority_change(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        priority_id: str,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """The ticket has another priority: its promise is recomputed from the original start."""
        return await run_async(conn, self._priority(ticket_id, priority_id, at, actor))

    async def handle_policy_change(
        self,
        conn: AsyncConnection[Any],
        ticket_id: str,
        policy_id: str | None,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Pin a policy to the ticket by hand, or with ``None`` that no policy applies, until it is released."""
        return await run_async(conn, self._policy(ticket_id, policy_id, at, actor))

    async def release_policy(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Let the client's, board's or default policy apply again after a policy was set by hand."""
        return await run_async(conn, self._release(ticket_id, at, actor))

    async def cancel_sla(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Promise nothing any more for this ticket, until ``start_sla_for_ticket``."""
        return await run_async(conn, self._cancel(ticket_id, at, actor))

    async def delete_ticket(self, conn: AsyncConnection[Any], ticket_id: str, *, actor: str | None = None) -> bool:
        """Forget the ticket, keeping its audit log; whether there was one."""
        return await run_async(conn, self._verbs.delete(current_tenant(), ticket_id, actor))

    async def get_sla_status(
        self, conn: AsyncConnection[Any], ticket_id: str, *, at: datetime | None = None
    ) -> SlaStatus:
        """How the ticket stands, now or at another instant, from the facts up to then."""
        return await run_async(conn, self._verbs.status(current_tenant(), ticket_id, at))


class SyncSlaService(_Calls):
    """The verbs of ``SlaService`` for sync code, over a psycopg ``Connection``."""

    def sync_ticket(self, conn: Connection[Any], ticket: Ticket, *, actor: str | None = None) -> SlaStatus:
        """Call after every save of a ticket: it starts, pauses, resumes, retargets, resolves and reopens as needed."""
        return run(conn, self._verbs.sync_ticket(current_tenant(), ticket, actor))

    def sync_tickets(
        self, conn: Connection[Any], tickets: Iterable[Ticket], *, actor: str | None = None
    ) -> list[SlaStatus]:
        """``sync_ticket`` for many, all or none, locked in the order of their ids."""
        return run(conn, self._sync_tickets(tickets, actor))

    def start_sla_for_ticket(
        self, conn: Connection[Any], ticket: Ticket | str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Start the clocks of a ticket (once; calling it again changes nothing), or lift a cancel."""
        return run(conn, self._verbs.start(current_tenant(), ticket, at, actor))

    def record_first_response(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was answered at ``at``; the first answer in time counts, in whatever order they arrive."""
        return run(conn, self._record(ticket_id, FactKind.ANSWERED, at, actor))

    def record_resolution(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was resolved at ``at``, which also stops the response clock."""
        return run(conn, self._record(ticket_id, FactKind.RESOLVED, at, actor))

    def reopen(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """The ticket was reopened: its resolution clock runs on, the time it was closed does not count."""
        return run(conn, self._record(ticket_id, FactKind.REOPENED, at, actor))

    def pause_sla(
        self,
        conn: Connection[Any],
        ticket_id: str,
        *,
        source: PauseSource = PauseSource.MANUAL,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Hold the clocks on behalf of ``source``; they stand still while any source holds them."""
        return run(conn, self._verbs.pause(current_tenant(), ticket_id, source, at, actor))

    def resume_sla(
        self,
        conn: Connection[Any],
        ticket_id: str,
        *,
        source: PauseSource = PauseSource.MANUAL,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Let go for ``source``; the clocks run once no source holds them."""
        return run(conn, self._verbs.resume(current_tenant(), ticket_id, source, at, actor))

    def handle_status_change(
        self,
        conn: Connection[Any],
        ticket_id: str,
        status_id: str,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """The ticket has another status: pause, resume, resolve or reopen as the status is configured."""
        return run(conn, self._verbs.change_status(current_tenant(), ticket_id, status_id, at, actor))

    def handle_response_state_change(
        self,
        conn: Connection[Any],
        ticket_id: str,
        response_state: str | None,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Whose turn it is: ``awaiting_client``, ``awaiting_internal`` or ``None``."""
        return run(conn, self._response_state(ticket_id, response_state, at, actor))

    def handle_priority_change(
        self,
        conn: Connection[Any],
        ticket_id: str,
        priority_id: str,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """The ticket has another priority: its promise is recomputed from the original start."""
        return run(conn, self._priority(ticket_id, priority_id, at, actor))

    def handle_policy_change(
        self,
        conn: Connection[Any],
        ticket_id: str,
        policy_id: str | None,
        *,
        at: datetime | None = None,
        actor: str | None = None,
    ) -> SlaStatus:
        """Pin a policy to the ticket by hand, or with ``None`` that no policy applies, until it is released."""
        return run(conn, self._policy(ticket_id, policy_id, at, actor))

    def release_policy(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Let the client's, board's or default policy apply again after a policy was set by hand."""
        return run(conn, self._release(ticket_id, at, actor))

    def cancel_sla(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None, actor: str | None = None
    ) -> SlaStatus:
        """Promise nothing any more for this ticket, until ``start_sla_for_ticket``."""
        return run(conn, self._cancel(ticket_id, at, actor))

    def delete_ticket(self, conn: Connection[Any], ticket_id: str, *, actor: str | None = None) -> bool:
        """Forget the ticket, keeping its audit log; whether there was one."""
        return run(conn, self._verbs.delete(current_tenant(), ticket_id, actor))

    def get_sla_status(
        self, conn: Connection[Any], ticket_id: str, *, at: datetime | None = None
    ) -> SlaStatus:
        """How the ticket stands, now or at another instant, from the facts up to then."""
        return run(conn, self._verbs.status(current_tenant(), ticket_id, at))
