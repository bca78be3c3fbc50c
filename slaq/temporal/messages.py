"""What goes over the wire: ids and instants only, no personal data, every field with a default that old histories lack."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

WORKFLOW = "SlaTicketWorkflow"
ADVANCE = "advanceSla"


@dataclass(frozen=True)
class TicketRef:
    """Which ticket."""

    tenant: str
    ticket_id: str


@dataclass(frozen=True)
class Snapshot:
    """How a ticket stood at ``version``, as far as its timer needs it; instants are UTC.

    ``at`` is the instant of the newest fact, ``wake_at`` that of the earliest crossing not yet told
    (``None``: nothing to wait for), ``label`` what is crossed then. ``lead_ms``: how long before it the run wakes, so that
    the activity is there in time and waits for the instant itself. ``is_over``: no run is needed any more.
    """

    version: int = -1
    at: datetime | None = None
    is_over: bool = False
    reason: str = ""
    wake_at: datetime | None = None
    lead_ms: int = 0
    label: str = ""
    phase: str = "response"
    paused_at: datetime | None = None
    pause_reason: str = ""
    response_due_at: datetime | None = None
    resolution_due_at: datetime | None = None
    response_at: datetime | None = None
    resolution_at: datetime | None = None
    response_met: bool | None = None
    resolution_met: bool | None = None
    notified: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class WorkflowInput:
    """What a run is started with; without a snapshot it asks for one."""

    ticket: TicketRef
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class WorkflowState:
    """The answer to ``getState``: absolute instants, since a query may be answered long after the last event."""

    ticket: TicketRef
    status: str
    snapshot: Snapshot
    sleeping_until: datetime | None = None
    failed_wakes: int = 0


@dataclass(frozen=True)
class WakeTimeInput:
    """``calculateNextWakeTime``: when ``target_minutes`` of open time after ``current_time`` have passed.

    ``schedule`` is written as in a promise (``timezone``, ``entries``, ``holidays``), or ``None`` for around the
    clock. ``pause_minutes`` are open minutes that do not count: pauses are measured in open time.
    """

    current_time: datetime
    target_minutes: float
    schedule: dict[str, object] | None = None
    pause_minutes: float = 0


@dataclass(frozen=True)
class ThresholdInput:
    """``sendSlaNotification``: which threshold of which ticket."""

    ticket: TicketRef
    phase: str
    percent: int


@dataclass(frozen=True)
class AuditInput:
    """``recordSlaAuditLog``: what to write down once."""

    ticket: TicketRef
    event_type: str
    event_data: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Done:
    """What a single activity did: the crossings that it recorded, in words."""

    told: list[str] = field(default_factory=list[str])
