"""The one place where a threshold is crossed: what a settling writes, for every timer and every change.

A settling is written by one SQL function in one transaction: claim, breach, escalation, audit, in-app
rows, deliveries with their jobs, the application's event, the next alarm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from slaq.phase import PhaseClock, Terms
from slaq.promise import Kind, Promise
from slaq.status import escalation_level
from slaq.store.tickets import TicketState, encoded
from slaq.timeline import Clocks, Record, Settlement

_MINUTE = timedelta(minutes=1)


def settlement_document(
    state: TicketState,
    settlement: Settlement,
    now: datetime,
    by: str,
    *,
    fields: Mapping[str, Any] | None = None,
    facts: Sequence[Mapping[str, Any]] = (),
    promise: Mapping[str, Any] | None = None,
    audit: Sequence[Mapping[str, Any]] = (),
) -> str:
    """What ``slaq.settle_ticket`` writes for ``settlement``, with the change of the ticket that led to it."""
    row = {**(state.row or {}), **(fields or {})}
    columns = _columns(settlement, now, row)
    document: dict[str, Any] = {
        "now": now,
        "by": by,
        "ticket": {**_NEW_TICKET, **row, **columns, "tenant": state.tenant, "ticket_id": state.ticket_id}
        if state.row is None
        else {**(fields or {}), **columns},
        "tell": [_told(record, settlement.clocks, row) for record in settlement.told],
        "due_at": settlement.alarm,
    }
    if settlement.voided:
        document["void"] = [record.row for record in settlement.voided]
    if settlement.revived:
        document["revive"] = [record.row for record in settlement.revived]
    if facts:
        document["facts"] = facts
    if promise:
        document["promise"] = promise
    if audit:
        document["audit"] = audit
    return json.dumps(document, default=encoded)


_NEW_TICKET: Mapping[str, Any] = {
    "sla_total_pause_minutes": 0,
    "escalated": False,
    "is_closed": False,
    "is_cancelled": False,
    "is_policy_cleared": False,
}


def _columns(settlement: Settlement, now: datetime, row: Mapping[str, Any]) -> dict[str, Any]:
    """The result of the clocks, as the ticket's columns."""
    clocks = settlement.clocks
    if clocks is None:
        return {}
    level = escalation_level(settlement.records)
    is_escalated_further = level is not None and level > (row.get("escalation_level") or 0)
    columns: dict[str, Any] = {
        "sla_policy_id": clocks.resolution.terms.promise.policy_id,
        "sla_started_at": clocks.started_at,
        "sla_paused_at": clocks.paused_at,
        "sla_pause_reason": clocks.pause_reason,
        "sla_total_pause_minutes": clocks.total_pause // _MINUTE,
        "escalated": level is not None,
        "escalation_level": level,
    }
    if is_escalated_further or level is None:
        columns["escalated_at"] = now if is_escalated_further else None
    for clock in clocks.phases:
        columns |= _phase_columns(clock, now)
    return columns


def _phase_columns(clock: PhaseClock, now: datetime) -> dict[str, Any]:
    name = clock.phase.value
    is_promised = clock.target is not None
    return {
        f"sla_{name}_due_at": clock.due_at if is_promised else None,
        f"sla_{name}_at_risk_at": clock.at_risk_at if is_promised else None,
        f"sla_{name}_at": clock.finished_at,
        f"sla_{name}_met": clock.met(now) if is_promised else None,
    }


def _told(record: Record, clocks: Clocks | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """One crossing with whom it concerns and what it says."""
    crossing = record.crossing
    told: dict[str, Any] = {
        "phase": crossing.phase,
        "kind": crossing.kind,
        "percent": crossing.percent,
        "level": crossing.level,
        "crossed_at": crossing.crossed_at,
        "is_silent": record.is_silent,
        "is_voided": record.is_voided,
    }
    if record.is_silent or crossing.kind is Kind.BREACH or clocks is None:
        return told
    clock = clocks.of(crossing.phase)
    if record.promise is not None:  # a retarget may have replaced it in the same change
        clock = attrs.evolve(clock, terms=Terms.first(record.promise))
    is_breach, who = _audience(record, clock.terms.promise)
    escalated = f", escalated to level {crossing.level}" if crossing.level is not None else ""
    used = "SLA breached" if is_breach else f"SLA {crossing.percent} % used"
    number = row.get("ticket_number") or row.get("ticket_id")
    due = f"due {clock.due_at:%Y-%m-%d %H:%M} UTC" if clock.due_at is not None else "not promised any more"
    return told | {
        "who": who,
        "type": "error" if is_breach else "warning",
        "template": "sla-escalation" if crossing.level is not None else "sla-breach" if is_breach else "sla-warning",
        "title": f"{crossing.phase.value.capitalize()} {used}{escalated}: {number}",
        "message": f"{row.get('title') or number}: {crossing.phase.value} {crossing.percent} % used, {due}",
    }


def _audience(record: Record, promise: Promise) -> tuple[bool, dict[str, Any]]:
    """Whether a crossing is told as a breach, and to whom."""
    crossing = record.crossing
    if crossing.level is not None:
        return crossing.percent >= 100, {"level": crossing.level}
    threshold = next((t for t in promise.thresholds if t.percent == crossing.percent), None)
    if threshold is None:
        return crossing.percent >= 100, {}
    return threshold.notification_type == "breach", {
        "assignee": threshold.notify_assignee,
        "board_manager": threshold.notify_board_manager,
        "escalation_manager": threshold.notify_escalation_manager,
        "channels": threshold.channels,
    }
