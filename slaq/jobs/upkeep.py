"""What keeps the queues going beside their handlers: schedules, and the sweeps of what nobody settles or needs any more."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.jobs import managing
from slaq.jobs.calls import run_call_async
from slaq.jobs.events import Listeners
from slaq.jobs.loops import sleep
from slaq.jobs.schedule import due_tick

STALE = timedelta(seconds=20)
"""A worker whose heart has been still for so long is dead."""
DELETE_EVERY = timedelta(minutes=10)
"""How often, over all workers, old jobs are deleted and long queues reported."""


async def look_after(
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    schema: str,
    listeners: Listeners,
    interval: float,
    stop: asyncio.Event,
) -> None:
    """Send what schedules have due and sweep, every ``interval`` seconds until ``stop`` is set.

    Any number of workers may: each tick is sent once, each job swept once, and deleting is left to whoever is first.
    """
    while not stop.is_set():
        async with pool.connection() as conn:
            await tick(conn, schema, listeners)
            swept = await run_call_async(conn, managing.sweep(STALE), schema)
            if any(swept.values()):
                await listeners.warn("jobs that nobody settled: {stalled} stalled, {expired} expired".format(**swept))
            if await run_call_async(conn, managing.delete_old(DELETE_EVERY), schema) is not None:
                await _warn_of_backlog(conn, schema, listeners)
        await sleep(interval, stop)


async def tick(
    conn: AsyncConnection[Any], schema: str, listeners: Listeners, queues: Container[str] | None = None
) -> list[int]:
    """Send the jobs of all schedules that are due, or of those of ``queues``; ids of the jobs.

    Many may tick at once: each tick is sent once.
    """
    listed = await run_call_async(conn, managing.get_schedules(), schema)
    schedules = [schedule for schedule in listed if queues is None or schedule.queue in queues]
    now = await run_call_async(conn, managing.now(), schema) if schedules else None
    sent: list[int] = []
    for schedule in schedules:
        try:
            due = due_tick(schedule, now) if now is not None else None
        except (LookupError, ValueError) as error:
            await listeners.warn(
                f"schedule {schedule.key!r} of queue {schedule.queue} cannot be evaluated and is left out: {error}",
                schedule.queue,
            )
            continue
        job = await run_call_async(conn, managing.fire(schedule, due), schema) if due is not None else None
        if job is not None:
            sent.append(job)
    return sent


async def _warn_of_backlog(conn: AsyncConnection[Any], schema: str, listeners: Listeners) -> None:
    for stats in await run_call_async(conn, managing.get_queue_stats(), schema):
        if stats.ready > stats.warning_size:
            message = f"queue {stats.name} has {stats.ready} ready jobs, more than {stats.warning_size}"
            await listeners.warn(message, stats.name)
