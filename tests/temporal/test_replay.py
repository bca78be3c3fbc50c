"""Histories of every kind of life, as former releases wrote them, are replayed by today's workflow.

``SLAQ_RECORD=1 pytest tests/temporal/test_replay.py`` writes those that are missing. A change that breaks the old ones
needs ``workflow.patched`` or an upgrade note that says ``slaq temporal restart --all-open``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from slaq.temporal.workflow import SlaTicketWorkflow

from .world import START, World, eventually

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


LIVES: dict[str, Callable[[World], Awaitable[None]]] = {
    life.__name__: life
    for life in (answered_and_resolved, breached, paused, retargeted, cancelled, deleted, signalled_by_hand, retried)
}


@pytest.mark.parametrize("name", LIVES)
async def test_todays_histories_replay(world: World, name: str) -> None:
    await world.open()
    await LIVES[name](world)
    history = await world.handle().fetch_history()
    await replay(history)
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
