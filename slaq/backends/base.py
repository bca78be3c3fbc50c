"""What a backend is told, in the caller's transaction, after the facts are written."""

from __future__ import annotations

from typing import Protocol

from slaq.promise import Phase
from slaq.store.database import Steps


class SlaBackend(Protocol):
    """Six things a backend can be told or asked; it never writes the ticket.

    Every method yields statements for the transaction that the change is part of; the ticket's alarm
    row is locked by it. ``name`` is what a ticket's alarm row records as its owner.
    """

    name: str

    def start_sla_tracking(self, tenant: str, ticket_id: str) -> Steps[None]:
        """The ticket has its first promise, or another one; starting twice is no error."""
        ...

    def pause_sla(self, tenant: str, ticket_id: str, reason: str) -> Steps[None]:
        """The ticket's clocks stand still from now on."""
        ...

    def resume_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        """The ticket's clocks run again."""
        ...

    def complete_sla(self, tenant: str, ticket_id: str, phase: Phase, *, met: bool | None) -> Steps[None]:
        """A phase is finished; ``met`` is its verdict, ``None`` when nothing was promised."""
        ...

    def cancel_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        """The promise or the ticket is gone."""
        ...

    def get_sla_status(self, tenant: str, ticket_id: str) -> Steps[str | None]:
        """Which backend owns the ticket, or ``None`` when there is no such ticket.

        The status itself is the database's, whichever backend owns the ticket.
        """
        ...
