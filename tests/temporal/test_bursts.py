"""Many tickets at once: the worker takes no more workflow tasks than it can do, as a task that waits in it sets its timer late."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType

from slaq.temporal.worker import WORKFLOW_TASKS

from .test_outages import open_now
from .world import World, eventually

NAMES = [f"T{number}" for number in range(60)]


async def test_no_task_waits_inside_the_worker(real_world: World) -> None:
    world = real_world
    await open_now(world, *NAMES)
    await world.dispatch()
    async with world.worker():
        tasks = [await eventually(lambda name=name: first_task(world, name)) for name in NAMES]
    starts = sorted(start for start, _ in tasks)
    under_way = [sum(start <= at < end for start, end in tasks) for at in starts]
    assert 1 < max(under_way) <= WORKFLOW_TASKS


async def first_task(world: World, ticket_id: str) -> tuple[int, int] | None:
    """When it was given to the worker and when it came back, in nanoseconds by the server's clock."""
    history = await world.handle(ticket_id).fetch_history()
    times = {event.event_type: event.event_time.ToNanoseconds() for event in reversed(history.events)}
    end = times.get(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    return None if end is None else (times[EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED], end)
