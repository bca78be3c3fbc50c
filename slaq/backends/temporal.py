"""The Enterprise backend: what a ticket's workflow must be told goes into an outbox, in the ticket's transaction.

No application process dials Temporal. A ticket belongs to Temporal only if a worker vouched for it when the
ticket started; otherwise it belongs to the poller, which watches the others too, a grace period behind.
"""

from __future__ import annotations

import logging

from slaq.promise import Phase
from slaq.store.database import Statement, Steps
from slaq.store.queries import query

_log = logging.getLogger("slaq")


class TemporalSlaBackend:
    """Writes one outbox row for each change; a worker with Temporal drains them."""

    name = "temporal"

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._is_down = False
        self._has_warned_of_edition = False

    def start_sla_tracking(self, tenant: str, ticket_id: str) -> Steps[None]:
        return self._tell(tenant, ticket_id, "start")

    def pause_sla(self, tenant: str, ticket_id: str, reason: str) -> Steps[None]:
        return self._tell(tenant, ticket_id, "pause")

    def resume_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        return self._tell(tenant, ticket_id, "resume")

    def complete_sla(self, tenant: str, ticket_id: str, phase: Phase, *, met: bool | None) -> Steps[None]:
        return self._tell(tenant, ticket_id, "completeResponse" if phase is Phase.RESPONSE else "completeResolution")

    def cancel_sla(self, tenant: str, ticket_id: str) -> Steps[None]:
        return self._tell(tenant, ticket_id, "cancel")

    def get_sla_status(self, tenant: str, ticket_id: str) -> Steps[str | None]:
        rows = yield Statement(query("temporal", "owner", self._schema), {"tenant": tenant, "ticket": ticket_id})
        return rows[0][0] if rows else None

    def _tell(self, tenant: str, ticket_id: str, change: str) -> Steps[None]:
        rows = yield Statement(
            query("temporal", "tell_workflow", self._schema), {"tenant": tenant, "ticket": ticket_id, "change": change}
        )
        match rows[0][0]:
            case "down":
                yield from self._fall_back()
            case "started":
                self._recover()
            case "collision":
                _log.warning(
                    "ticket %s of tenant %s is polled: another ticket has its workflow id sla-ticket-%s-%s",
                    ticket_id, tenant, tenant, ticket_id,
                )  # fmt: skip
            case _:
                pass

    def _fall_back(self) -> Steps[None]:
        """Warn when Temporal is found down, once until it is back."""
        if self._is_down:
            return
        self._is_down = True
        _log.warning("no worker vouches for Temporal: new tickets are polled until one does")
        rows = yield Statement(query("temporal", "community_workers", self._schema), {})
        if rows[0][0] and not self._has_warned_of_edition:
            self._has_warned_of_edition = True
            _log.warning(
                "this application's edition is enterprise, but a worker's is community: set SLAQ_EDITION alike"
            )

    def _recover(self) -> None:
        if self._is_down:
            self._is_down = False
            _log.warning("Temporal is back: new tickets get workflows again")
