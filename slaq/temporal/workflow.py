"""The workflow of a ticket: it sleeps until the next crossing, has it settled, and asks when to wake again.

It decides nothing about time or promises. Wake times come from the database, with signals or as the result of
the one activity, and are thereby recorded in history. Handlers only take what they are given; the run reacts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from slaq.temporal.messages import ADVANCE, WORKFLOW, Snapshot, WorkflowInput, WorkflowState

_PATIENCE = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
_ACTIVITY_TIMEOUT = timedelta(seconds=10)
"""An activity waits two seconds for its instant and five for the ticket's lock, at most; one whose worker was killed must
be found out before the poller has to step in."""
_SHORTEST_RETRY = timedelta(seconds=1)
_LONGEST_RETRY = timedelta(minutes=1)
LONGEST_HISTORY = 2000
"""Events after which a run goes on in a new one, far below the server's limit."""


@workflow.defn(name=WORKFLOW)
class SlaTicketWorkflow:
    """Watches one ticket as long as it is open."""

    @workflow.init
    def __init__(self, given: WorkflowInput) -> None:
        self._ticket = given.ticket
        self._snapshot = given.snapshot or Snapshot()
        self._must_ask = given.snapshot is None
        self._has_news = False
        self._failed_wakes = 0
        self._not_before: datetime | None = None
        self._vain_wakes = 0

    @workflow.run
    async def run(self, given: WorkflowInput) -> str:
        while not self._snapshot.is_over or self._must_ask:
            self._continue_before_limits()
            self._has_news = False
            if self._must_ask or not await self._is_interrupted():
                await self._advance()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._snapshot.reason or "over"

    async def _is_interrupted(self) -> bool:
        """Sleep until the next wake, or for ever if there is none; true when something was heard first."""
        wake_at = self._next_wake()
        if wake_at is None:
            await workflow.wait_condition(lambda: self._has_news)
            return True
        delay = wake_at - timedelta(milliseconds=self._snapshot.lead_ms) - workflow.now()
        if delay <= timedelta():
            return False
        try:
            await workflow.wait_condition(
                lambda: self._has_news, timeout=delay, timeout_summary=self._snapshot.label or None
            )
        except TimeoutError:
            return False
        return True

    def _next_wake(self) -> datetime | None:
        """When to look again; later than asked when looking did not help the last time."""
        wake_at = self._snapshot.wake_at
        if wake_at is None or self._not_before is None:
            return wake_at
        return max(wake_at, self._not_before)

    async def _advance(self) -> None:
        """Have the database cross what is due, and take what it says of the ticket now."""
        self._must_ask = False  # a signal that asks meanwhile asks again
        try:
            snapshot = await workflow.execute_activity(
                ADVANCE,
                self._ticket,
                result_type=Snapshot,
                start_to_close_timeout=_ACTIVITY_TIMEOUT,
                retry_policy=_PATIENCE,
                summary=self._snapshot.label or "ask for the next wake",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self._failed_wakes += 1  # a bug, told by the activity; a deploy mends it, so the ticket is not given up
            self._wait_longer()
            return
        self._take(snapshot)
        if self._snapshot.wake_at is not None and self._snapshot.wake_at <= workflow.now():
            self._wait_longer()
        else:
            self._not_before, self._vain_wakes = None, 0

    def _wait_longer(self) -> None:
        """Put the next look off, a little further each time, so that a wake that stays due cannot fill the history."""
        wait = min(_SHORTEST_RETRY * 2**self._vain_wakes, _LONGEST_RETRY)
        self._vain_wakes += 1
        self._not_before = workflow.now() + wait
        if self._snapshot.version < 0:  # nothing is known of the ticket yet
            self._snapshot = Snapshot(wake_at=self._not_before)

    def _continue_before_limits(self) -> None:
        info = workflow.info()
        if info.is_continue_as_new_suggested() or info.get_current_history_length() > LONGEST_HISTORY:
            snapshot = None if self._must_ask else self._snapshot
            workflow.continue_as_new(WorkflowInput(self._ticket, snapshot))

    def _take(self, snapshot: Snapshot) -> None:
        """Take a snapshot unless a newer one is known: signals may be repeated, late or out of order."""
        if snapshot.version >= self._snapshot.version:
            self._snapshot = snapshot

    def _hear(self, snapshot: Snapshot | None) -> None:
        """A signal. Sent by hand, without a snapshot, it makes the run ask the database."""
        if snapshot is None:
            self._must_ask = True
        else:
            self._must_ask = False
            self._take(snapshot)
            self._not_before, self._vain_wakes = None, 0
        self._has_news = True

    @workflow.signal
    def pause(self, snapshot: Snapshot | None = None) -> None:
        """The clocks stand still."""
        self._hear(snapshot)

    @workflow.signal
    def resume(self, snapshot: Snapshot | None = None) -> None:
        """The clocks run again."""
        self._hear(snapshot)

    @workflow.signal(name="completeResponse")
    def complete_response(self, snapshot: Snapshot | None = None) -> None:
        """The ticket was answered."""
        self._hear(snapshot)

    @workflow.signal(name="completeResolution")
    def complete_resolution(self, snapshot: Snapshot | None = None) -> None:
        """The ticket was resolved."""
        self._hear(snapshot)

    @workflow.signal
    def cancel(self, snapshot: Snapshot | None = None) -> None:
        """The ticket or its promise is gone."""
        self._hear(snapshot)

    @workflow.signal
    def refresh(self, snapshot: Snapshot | None = None) -> None:
        """Anything else has changed."""
        self._hear(snapshot)

    @workflow.query(name="getState")
    def get_state(self) -> WorkflowState:
        """Phase, pause, deadlines, what was told, and until when this run sleeps."""
        snapshot = self._snapshot
        status = "over" if snapshot.is_over else "paused" if snapshot.paused_at is not None else "running"
        return WorkflowState(self._ticket, status, snapshot, self._next_wake(), self._failed_wakes)
