"""The activities, all idempotent: whoever runs one twice finds it done.

The workflow runs one of them, ``advanceSla``, on each wake: everything that is due is crossed in one transaction. The
five of the requirements are registered too, under their names, and do their part through the same settling. Run one
after the other they would cost five billed actions a wake instead of one, and a crash between two of them would
leave a threshold half crossed; one transaction cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from slaq.errors import HoursError
from slaq.promise import Kind
from slaq.store.tickets import parse_schedule
from slaq.temporal.messages import ADVANCE, AuditInput, Done, Snapshot, ThresholdInput, TicketRef, WakeTimeInput
from slaq.temporal.settling import Settler


class SlaActivities:
    """What a worker does for workflows."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """Everything to register."""
        return (
            self.advance,
            self.calculate_next_wake_time,
            self.send_sla_notification,
            self.check_and_escalate,
            self.update_sla_status,
            self.record_sla_audit_log,
        )

    @activity.defn(name=ADVANCE)
    async def advance(self, ticket: TicketRef) -> Snapshot:
        """Cross all that is due, and say how the ticket stands and when to wake again."""
        return (await self._settler.settle(ticket)).snapshot

    @activity.defn(name="calculateNextWakeTime")
    async def calculate_next_wake_time(self, given: WakeTimeInput) -> datetime:
        """The instant at which the target, and the open minutes of pauses, have passed on the schedule."""
        try:
            schedule = parse_schedule(given.schedule)
            return schedule.deadline(given.current_time, timedelta(minutes=given.target_minutes + given.pause_minutes))
        except (HoursError, KeyError, TypeError, ValueError) as error:
            raise ApplicationError(f"no wake time: {error}", non_retryable=True) from error

    @activity.defn(name="sendSlaNotification")
    async def send_sla_notification(self, given: ThresholdInput) -> Done:
        """Tell one threshold, if it is crossed and was not told yet."""
        settled = await self._settler.settle(
            given.ticket,
            lambda record: record.crossing.key == (given.phase, Kind.THRESHOLD, given.percent),
        )
        return Done(list(settled.told))

    @activity.defn(name="checkAndEscalate")
    async def check_and_escalate(self, ticket: TicketRef) -> Done:
        """Tell the managers of all levels that are reached and were not told yet."""
        settled = await self._settler.settle(ticket, lambda record: record.crossing.kind is Kind.ESCALATION)
        return Done(list(settled.told))

    @activity.defn(name="updateSlaStatus")
    async def update_sla_status(self, ticket: TicketRef) -> Done:
        """Write breaches and the ticket's columns as the clocks have them; an answer is never invented."""
        settled = await self._settler.settle(ticket, lambda record: record.crossing.kind is Kind.BREACH)
        return Done(list(settled.told))

    @activity.defn(name="recordSlaAuditLog")
    async def record_sla_audit_log(self, given: AuditInput) -> bool:
        """Write an audit entry, once."""
        return await self._settler.note(given.ticket, given.event_type, given.event_data)
