"""The Community backend: the alarm row is the timer, so there is nobody to tell."""

from __future__ import annotations

from slaq.promise import Phase
from slaq.store.database import Steps


class PollingSlaBackend:
    """Needs nothing beyond the alarm row, which is written with the facts; the poller asks its index."""

    name = "polling"

    def start_sla_tracking(self, tenant: str, ticket_id: str) -> Steps[None]:
        yield from ()

    def pause_sla(self, tenant: str, ticket_id: str, reason: str) -> Steps[None]:
        yield from ()

    def resume_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        yield from ()

    def complete_sla(self, tenant: str, ticket_id: str, phase: Phase, *, met: bool | None) -> Steps[None]:
        yield from ()

    def cancel_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        yield from ()

    def get_sla_status(self, tenant: str, ticket_id: str) -> Steps[str | None]:
        yield from ()
        return None
