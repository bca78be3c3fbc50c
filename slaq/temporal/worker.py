"""The process of the Enterprise timers: workflows and activities, the outbox's dispatcher, the reconciler, the health row.

It waits for a Temporal or a Postgres that is not there (yet), and says so. Applications believe in Temporal as long as
a process like this one vouches for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from slaq.config import Settings
from slaq.jobs.loops import keep_running
from slaq.jobs.worker import may_begin, open_pool
from slaq.store.health import INTERVAL, Health, new_worker_id
from slaq.temporal.activities import SlaActivities
from slaq.temporal.client import connect, serves, task_queue
from slaq.temporal.dispatcher import Dispatcher
from slaq.temporal.postgres import Pool
from slaq.temporal.reconciler import Reconciler
from slaq.temporal.settling import Settler
from slaq.temporal.workflow import SlaTicketWorkflow

_log = logging.getLogger("slaq.temporal")

GRACEFUL = timedelta(seconds=20)
STICKY = timedelta(seconds=5)
"""How long a wake may wait for a worker that was killed before another one gets it."""
WORKFLOW_TASKS = 10
"""Workflow tasks at a time. Each of them sets a timer that counts from its end, by a clock that was read at its
beginning: a task that waits its turn in this process would make its next wake late."""
ACTIVITIES = 100
"""Activities at a time; most of them wait for the instant of their crossing, without a connection."""
CONNECTIONS = 20
_RETRY = 2.0
_SOON = 0.5


@attrs.define
class _Connection:
    """The connection to Temporal, as the process's parts see it."""

    client: Client | None = None
    is_up: bool = False
    detail: str | None = None


async def run_temporal_worker(
    settings: Settings, conninfo: str, stop: asyncio.Event, runtime: Runtime | None = None
) -> None:
    """Work until ``stop`` is set; activities and calls that run are finished."""
    if not await may_begin(settings, conninfo, stop):
        return
    async with open_pool(conninfo, CONNECTIONS + 4) as pool:
        health = Health(pool, settings.schema, "temporal-worker", settings.edition, new_worker_id())
        connection = _Connection()
        if settings.edition != "enterprise":
            _log.warning(
                "edition is %s: applications give no tickets to Temporal unless theirs is enterprise", settings.edition
            )
        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("health", lambda: _vouch(health, connection, stop)),
            ("workflows", lambda: _work(settings, pool, health.worker_id, connection, stop, runtime)),
        ]
        async with asyncio.TaskGroup() as group:
            for name, loop in loops:
                group.create_task(keep_running(name, loop, stop), name=name)


async def _work(
    settings: Settings, pool: Pool, identity: str, connection: _Connection, stop: asyncio.Event, runtime: Runtime | None
) -> None:
    """Connect, then run everything that talks to Temporal."""
    clients = await _connect(identity, stop, runtime)
    if clients is None:
        return
    patient, bounded = clients
    settler = Settler(pool, settings.schema)
    dispatcher = Dispatcher(pool, settings.schema, bounded, task_queue())
    reconciler = Reconciler(pool, settings.schema, bounded)
    connection.client = bounded
    async with serving(patient, settler), asyncio.TaskGroup() as group:
        for name, loop in (
            ("dispatcher", lambda: dispatcher.run(stop, lambda: connection.is_up)),
            ("reconciler", lambda: reconciler.run(stop, lambda: connection.is_up)),
        ):
            group.create_task(keep_running(name, loop, stop), name=name)
        _log.info("working on task queue %s", task_queue())


@asynccontextmanager
async def serving(client: Client, settler: Settler, **options: object) -> AsyncGenerator[Worker, None]:
    """A running worker for slaq's workflows and activities; stopped gracefully at the end."""
    worker = Worker(
        client,
        task_queue=task_queue(),
        workflows=[SlaTicketWorkflow],
        activities=SlaActivities(settler).all,
        max_concurrent_workflow_tasks=WORKFLOW_TASKS,
        max_concurrent_activities=ACTIVITIES,
        graceful_shutdown_timeout=GRACEFUL,
        **{"sticky_queue_schedule_to_start_timeout": STICKY, **options},  # pyright: ignore[reportArgumentType]
    )
    async with worker:
        yield worker


async def _connect(identity: str, stop: asyncio.Event, runtime: Runtime | None) -> tuple[Client, Client] | None:
    """A patient client for the worker and a bounded one for the rest, once Temporal is there; ``None`` when stopped."""
    is_missing = False
    while not stop.is_set():
        try:
            return await connect(identity, runtime, is_bounded=False), await connect(identity, runtime)
        except (RuntimeError, OSError) as error:
            if not is_missing:
                _log.warning("Temporal cannot be reached, waiting for it: %s", error)
            is_missing = True
            await _pause(_RETRY, stop)
    return None


async def _vouch(health: Health, connection: _Connection, stop: asyncio.Event) -> None:
    """Keep this process's health row: whether Temporal answers and hands this worker work."""
    try:
        while not stop.is_set():
            was_up, was_detail = connection.is_up, connection.detail
            await _check(connection, health.worker_id)
            if connection.is_up is not was_up:
                _log.warning("Temporal is %s", "there" if connection.is_up else f"not answering: {connection.detail}")
            elif connection.detail != was_detail:
                _log.info("Temporal is not vouched for yet: %s", connection.detail)
            await health.report(is_up=connection.is_up, detail=connection.detail)
            await _pause(INTERVAL if connection.is_up else _SOON, stop)
    finally:
        await health.retire()


async def _check(connection: _Connection, identity: str) -> None:
    connection.is_up, connection.detail = False, None
    if connection.client is None:
        connection.detail = "not connected"
        return
    try:
        connection.is_up = await serves(connection.client, task_queue(), identity)
        connection.detail = None if connection.is_up else "it hands this worker no work"
    except Exception as error:
        connection.detail = repr(error)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
