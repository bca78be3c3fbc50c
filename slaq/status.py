"""How a ticket stands, in the one shape that every backend and list gives it."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from slaq.facts import PauseSource
from slaq.phase import State
from slaq.promise import Kind
from slaq.timeline import Clocks, Crossing, Headline, PhaseReading, Record

_MINUTE = timedelta(minutes=1)


@attrs.frozen(kw_only=True)
class PhaseStatus:
    """One phase. Minutes are business minutes, rounded down; ``remaining_minutes`` is negative when overdue.

    While the ticket is paused ``due_at`` is the projection: when it would be due if it resumed now.
    """

    state: State
    target_minutes: int | None = None
    due_at: datetime | None = None
    finished_at: datetime | None = None
    used_minutes: int | None = None
    remaining_minutes: int | None = None
    percent: float | None = None
    at_risk_at: datetime | None = None


@attrs.frozen(kw_only=True)
class SlaStatus:
    """A ticket's promise at one instant. ``total_pause_minutes`` is wall-clock time of finished pauses."""

    ticket_id: str
    at: datetime
    status: Headline
    response: PhaseStatus
    resolution: PhaseStatus
    policy_id: str | None = None
    started_at: datetime | None = None
    is_paused: bool = False
    paused_at: datetime | None = None
    pause_reason: PauseSource | None = None
    total_pause_minutes: int = 0
    escalation_level: int | None = None
    next_crossing: Crossing | None = None
    backend: str = "polling"


def status_of(
    ticket_id: str, clocks: Clocks | None, records: tuple[Record, ...], at: datetime, backend: str
) -> SlaStatus:
    """The status at ``at`` of a ticket with these clocks; ``none`` when it never had a promise."""
    if clocks is None:
        nothing = PhaseStatus(state=State.NONE)
        return SlaStatus(
            ticket_id=ticket_id, at=at, status=Headline.NONE, response=nothing, resolution=nothing, backend=backend
        )
    reading = clocks.read(at)
    return SlaStatus(
        ticket_id=ticket_id,
        at=at,
        status=reading.headline,
        response=_phase(reading.response),
        resolution=_phase(reading.resolution),
        policy_id=clocks.resolution.terms.promise.policy_id,
        started_at=clocks.started_at,
        is_paused=reading.paused_at is not None,
        paused_at=reading.paused_at,
        pause_reason=reading.pause_reason,
        total_pause_minutes=clocks.total_pause // _MINUTE,
        escalation_level=escalation_level(records),
        next_crossing=reading.next_crossing,
        backend=backend,
    )


def escalation_level(records: tuple[Record, ...]) -> int | None:
    """The highest level with a live row."""
    levels = (r.crossing.level for r in records if r.crossing.kind is Kind.ESCALATION and not r.is_voided)
    return max((level for level in levels if level is not None), default=None)


def _phase(reading: PhaseReading) -> PhaseStatus:
    if reading.target is None:
        return PhaseStatus(state=State.NONE, finished_at=reading.finished_at)
    return PhaseStatus(
        state=reading.state,
        target_minutes=reading.target // _MINUTE,
        due_at=reading.due_at,
        finished_at=reading.finished_at,
        used_minutes=reading.used // _MINUTE,
        remaining_minutes=None if reading.remaining is None else reading.remaining // _MINUTE,
        percent=reading.percent,
        at_risk_at=reading.at_risk_at,
    )
