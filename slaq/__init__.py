"""SLA timers for helpdesks: business time, durable thresholds, every notification once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slaq.facts import PauseSource
    from slaq.hours import Entry, Holiday, Schedule, format_remaining
    from slaq.services.service import SlaService, SyncSlaService
    from slaq.services.ticket import Ticket
    from slaq.status import PhaseStatus, SlaStatus
    from slaq.store.tenancy import run_with_tenant

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "Holiday",
    "PauseSource",
    "PhaseStatus",
    "Schedule",
    "SlaService",
    "SlaStatus",
    "SyncSlaService",
    "Ticket",
    "__version__",
    "format_remaining",
    "run_with_tenant",
]

_HOMES = {
    "Entry": "slaq.hours",
    "Holiday": "slaq.hours",
    "Schedule": "slaq.hours",
    "format_remaining": "slaq.hours",
    "PauseSource": "slaq.facts",
    "PhaseStatus": "slaq.status",
    "SlaStatus": "slaq.status",
    "SlaService": "slaq.services.service",
    "SyncSlaService": "slaq.services.service",
    "Ticket": "slaq.services.ticket",
    "run_with_tenant": "slaq.store.tenancy",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are asked for, so that ``import slaq`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'slaq' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
