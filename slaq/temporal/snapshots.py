"""How a ticket's workflow sees it: the stored state, put into a message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from slaq.promise import Kind
from slaq.store.tickets import TicketState, state_of
from slaq.temporal.messages import Snapshot
from slaq.timeline import Clocks, Record, fold

LEAD_MS = 300
"""How long before a crossing a run wakes: a busy server starts timers late, by as much as the task took that set them."""


@attrs.frozen
class Outgoing:
    """One row of the outbox, ready to be sent."""

    tenant: str
    ticket_id: str
    workflow_id: str
    change: str
    is_restart: bool
    sent_version: int
    attempts: int
    snapshot: Snapshot
    summary: str
    memo: Mapping[str, str]


def outgoing(document: Mapping[str, Any], now: datetime) -> Outgoing:
    """The row that a leased document describes; its promises must have been fetched."""
    state = state_of(document["tenant"], document["ticket_id"], document)
    row = state.row or {}
    number, priority = row.get("ticket_number"), row.get("priority_id")
    return Outgoing(
        tenant=state.tenant,
        ticket_id=state.ticket_id,
        workflow_id=document["workflow_id"],
        change=document["change"],
        is_restart=document["is_restart"],
        sent_version=document["sent_version"],
        attempts=document["attempts"],
        snapshot=snapshot_of(state, fold(state.facts), state.records, state.due_at, now),
        summary=" ".join(["SLA", number or state.ticket_id, *([priority] if priority else [])]),
        memo={"ticket_number": number or "", "policy_id": row.get("sla_policy_id") or ""},
    )


def snapshot_of(
    state: TicketState, clocks: Clocks | None, records: tuple[Record, ...], wake_at: datetime | None, now: datetime
) -> Snapshot:
    """How the ticket stands at ``now``: over when it is gone, closed or promised nothing."""
    if state.row is None or clocks is None:
        return Snapshot(state.version, now, is_over=True, reason="gone" if state.row is None else "not started")
    newest = state.facts[-1]
    now = max(now, newest.known_at)  # a clock that is behind the facts changes no verdict
    response, resolution = clocks.phases
    return Snapshot(
        version=state.version,
        at=newest.at,
        is_over=not clocks.is_open or not resolution.terms.promise.is_targeted,
        reason=_reason(clocks, now),
        wake_at=wake_at,
        lead_ms=LEAD_MS,
        label=_label(clocks, wake_at),
        phase=_phase(clocks, now),
        paused_at=clocks.paused_at,
        pause_reason=clocks.pause_reason.value if clocks.pause_reason is not None else "",
        response_due_at=response.due_at if response.target is not None else None,
        resolution_due_at=resolution.due_at if resolution.target is not None else None,
        response_at=response.finished_at,
        resolution_at=resolution.finished_at,
        response_met=response.met(now) if response.target is not None else None,
        resolution_met=resolution.met(now) if resolution.target is not None else None,
        notified=[words(r) for r in records if not r.is_voided and r.crossing.kind is not Kind.BREACH],
    )


def words(record: Record) -> str:
    """A crossing in words: ``response threshold 75``."""
    crossing = record.crossing
    return f"{crossing.phase} {crossing.kind} {crossing.percent}"


def _reason(clocks: Clocks, now: datetime) -> str:
    """Why the run ends, when it does."""
    if clocks.is_open:
        return "nothing promised" if not clocks.resolution.terms.promise.is_targeted else ""
    verdicts = (("response", clocks.response.met(now)), ("resolution", clocks.resolution.met(now)))
    return ", ".join(
        ["resolved", *(f"{name} {'met' if met else 'missed'}" for name, met in verdicts if met is not None)]
    )


def _phase(clocks: Clocks, now: datetime) -> str:
    if not clocks.is_open:
        return "finished"
    response = clocks.response
    is_waiting = response.target is not None and response.finished_at is None and response.met(now) is not False
    return "response" if is_waiting else "resolution"


def _label(clocks: Clocks, wake_at: datetime | None) -> str:
    """What is crossed at the next wake, for people who look at the workflow."""
    at_once = [c for c in clocks.crossings if c.crossed_at == wake_at]
    return ", ".join(dict.fromkeys(f"{c.phase} {c.percent} %" for c in at_once))
