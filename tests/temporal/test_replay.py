"""Histories of every kind of life, as former releases wrote them, are replayed by today's workflow.

``SLAQ_RECORD=1 pytest tests/temporal/test_replay.py`` writes those that are missing. A change that breaks the old ones
needs ``workflow.patched`` or an upgrade note that says ``slaq temporal restart --all-open``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from slaq.temporal.client import task_queue
from slaq.temporal.messages import WORKFLOW, TicketRef, WorkflowInput
from slaq.temporal.workflow import SlaTicketWorkflow

from .world import START, World, binary, eventually, open_world

HISTORIES = Path(__file__).parent / "histories"


async def answered_and_resolved(world: World) -> None:
    await world.after(20)
    await world.verb("record_first_response")
    await world.after(228)
    await world.verb("record_resolution")
    await eventually(world.has_ended)


async def breached(world: World) -> None:
    await world.until(START + timedelta(days=1))
    assert len(await world.crossings()) == 16


async def paused(world: World) -> None:
    await world.after(60)
    await world.verb("pause_sla")
    await world.after(60)
    await world.verb("resume_sla")
    await world.after(60)
    await world.verb("record_resolution")
    await eventually(world.has_ended)


async def retargeted(world: World) -> None:
    await world.after(60)
    await world.verb("handle_priority_change", "T1", "low")
    await world.after(200)
    await world.verb("handle_policy_change", "T1", "plain")
    await world.after(200)


async def cancelled(world: World) -> None:
    await world.after(60)
    await world.verb("cancel_sla")
    await eventually(world.has_ended)


async def deleted(world: World) -> None:
    await world.after(60)
    await world.verb("delete_ticket")
    await eventually(world.has_ended)


async def signalled_by_hand(world: World) -> None:
    for name in ("pause", "cancel", "refresh"):
        await world.handle().signal(name)
        await world.after(30)


async def retried(world: World) -> None:
    """An hour without a table."""
    import psycopg

    assert world.env is not None
    with psycopg.connect(world.dsn + " user=postgres", autocommit=True) as conn:
        conn.execute("ALTER TABLE slaq.sla_audit_log RENAME TO broken")
        await world.env.sleep(timedelta(hours=2))
        conn.execute("ALTER TABLE slaq.broken RENAME TO sla_audit_log")
    await world.until(START + timedelta(hours=3, minutes=10))


async def flapping(world: World) -> None:
    """Paused and resumed all the time, some signals arriving together."""
    for _ in range(3):
        await world.after(5)
        await world.verb("pause_sla")
        await world.after(10)
        await world.verb("resume_sla")
        await asyncio.gather(*(world.handle().signal(name) for name in ("refresh", "pause", "resume")))
    await world.until(START + timedelta(minutes=81))
    assert await world.crossings() == ["response threshold 50 @80"]


async def reopened(world: World) -> None:
    """The run after the first one, which a signal started."""
    await world.after(20)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    await world.after(20)
    await world.verb("reopen")
    await world.after(200)


async def noticed(world: World) -> None:
    """Resolved, but the signal never came."""
    await world.after(20)
    await world.do(lambda service, conn: service.record_resolution(conn, "T1"), dispatch=False)
    await world.lose_outbox()
    assert world.env is not None
    await world.env.sleep(timedelta(minutes=45))
    await eventually(world.has_ended)


async def stopped_in_the_web_ui(world: World) -> None:
    await world.after(60)
    await world.handle().cancel()
    await eventually(world.has_ended)


async def started_by_hand(world: World) -> None:
    """Without a snapshot, so that it asks for one."""
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    await world.do(lambda service, conn: service.reopen(conn, "T1"), dispatch=False)
    await world.lose_outbox()
    await world.client.start_workflow(
        WORKFLOW, WorkflowInput(TicketRef("acme", "T1")), id=world.handle().id, task_queue=task_queue()
    )
    await world.after(210)
    assert await world.crossings() == ["resolution threshold 50 @200"]
    await world.verb("record_resolution")
    await eventually(world.has_ended)


LIVES: dict[str, Callable[[World], Awaitable[None]]] = {
    life.__name__: life
    for life in (
        answered_and_resolved, breached, paused, flapping, reopened, retargeted, cancelled, deleted, noticed, signalled_by_hand,
        started_by_hand, stopped_in_the_web_ui, retried,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", LIVES)
async def test_todays_histories_replay(world: World, name: str) -> None:
    await world.open()
    await LIVES[name](world)
    history = await world.handle().fetch_history()
    await replay(history)
    record(name, history)


async def test_todays_history_of_a_run_that_continued_as_new_replays(dsn: str) -> None:
    """On the full server, told to suggest it early: what a run does at its limits depends on what its history says."""
    suggestion = ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=60"]
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=binary("temporal"), dev_server_extra_args=suggestion, dev_server_log_level="never"
        ) as env,
        open_world(dsn, env.client, None) as world,
        world.worker(),
    ):
        world.clock.now = (await world.rows("SELECT clock_timestamp()"))[0][0]
        await world.open()
        first = world.client.get_workflow_handle(world.handle().id, run_id=(await world.handle().describe()).run_id)
        while (await first.describe()).status is WorkflowExecutionStatus.RUNNING:
            await world.verb("pause_sla")
            await world.verb("resume_sla")
        await world.verb("record_resolution")
        await eventually(world.has_ended)
        for name, handle in (("continued", first), ("continuing", world.handle())):
            history = await handle.fetch_history()
            await replay(history)
            record(name, history)
        assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW


def record(name: str, history: WorkflowHistory) -> None:
    file = HISTORIES / f"{name}.json"
    if os.environ.get("SLAQ_RECORD") and not file.exists():
        file.write_text(history.to_json(), encoding="utf-8")


@pytest.mark.parametrize("file", sorted(HISTORIES.glob("*.json")), ids=lambda file: file.stem)
async def test_saved_histories_replay(file: Path) -> None:
    await replay(WorkflowHistory.from_json(f"saved-{file.stem}", file.read_text("utf-8")))


async def replay(history: WorkflowHistory) -> None:
    await Replayer(workflows=[SlaTicketWorkflow]).replay_workflow(history)


async def test_events_and_actions_of_a_life(world: World) -> None:
    """28 events and 7 actions at most when it is answered in time and resolved at 62 %."""
    from temporalio.api.enums.v1 import EventType

    await world.open()
    await answered_and_resolved(world)
    kinds = [event.event_type for event in (await world.handle().fetch_history()).events]
    billed = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, EventType.EVENT_TYPE_TIMER_STARTED,
              EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)  # fmt: skip
    assert len(kinds) <= 28
    assert sum(kinds.count(kind) for kind in billed) <= 7
