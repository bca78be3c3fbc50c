"""What people see of a ticket's run in Temporal's web UI, on the full server: the other one keeps no summaries."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.converter import default as default_converter

from .test_outages import FAST, told_by
from .world import World, eventually


async def test_summaries_and_memo_say_what_a_run_is_about_and_what_it_waits_for(real_world: World) -> None:
    world = real_world
    await world.configure(FAST)
    async with world.worker():
        world.clock.now = (await world.rows("SELECT clock_timestamp()"))[0][0]
        await world.open(ticket_number="N-17")
        await eventually(lambda: told_by(world, "temporal"))
        described = await world.handle().describe()
        assert await described.static_summary() == "SLA N-17 high"
        assert await described.memo() == {"ticket_number": "N-17", "policy_id": "standard"}
        shown = {kind: await _summary(world, kind) for kind in
                 (EventType.EVENT_TYPE_TIMER_STARTED, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)}  # fmt: skip
        assert set(shown.values()) == {"response 5 %"}


async def _summary(world: World, kind: int) -> str:
    """That of the first event of a kind."""
    history = await world.handle().fetch_history()
    event = next(event for event in history.events if event.event_type == kind)
    return str((await default_converter().decode([event.user_metadata.summary]))[0])
