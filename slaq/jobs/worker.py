"""The worker process: the queue, the timer loop beside it, and the recovery of what dead workers left.

Each of them is restarted when it ends, whatever the reason: an outage of Postgres makes the worker wait,
not stop. The process ends when it is asked to, or when a restart cannot help.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
from procrastinate import App
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.backends.select import SlaBackendFactory
from slaq.clock import DatabaseClock, monotonic
from slaq.config import Settings
from slaq.delivery.transport import transport_for
from slaq.errors import SchemaOutdated
from slaq.jobs.engine import EVENTS_QUEUE, QUEUE, make_app
from slaq.jobs.tasks import OnThreshold, add_tasks, log_threshold
from slaq.jobs.timer import Timer
from slaq.services.verbs import Verbs
from slaq.store.queries import query

_log = logging.getLogger("slaq.worker")

HEARTBEAT = 5.0
STALE = timedelta(seconds=20)
RECOVERY = 5.0
ATTEMPTS = 25
GRACEFUL = 30.0
LONGEST_RESTART = 15.0


async def run_worker(
    settings: Settings, conninfo: str, stop: asyncio.Event, on_threshold: OnThreshold = log_threshold
) -> None:
    """Work until ``stop`` is set. Raises ``SchemaOutdated`` when the database lacks this release's tables."""
    if not await _has_schema(settings, conninfo, stop):
        return
    async with _pool(conninfo, settings.concurrency + 2) as pool:
        timer = Timer(
            pool,
            settings.schema,
            settings.concurrency,
            settings.loop_interval,
            timedelta(seconds=settings.grace),
        )
        verbs = Verbs(SlaBackendFactory(settings).get_backend(), DatabaseClock(), settings.schema)

        async def work_queue() -> None:
            app = make_app(conninfo, settings.schema, settings.concurrency + 2)
            add_tasks(app, settings, pool, verbs, timer, transport_for(settings), on_threshold)
            await _run_queue(app, settings, stop)

        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("queue", work_queue),
            ("recovery", lambda: _recover(pool, settings, stop)),
        ]
        if settings.loop_interval:
            loops.append(("timer", lambda: timer.run(stop)))
        async with asyncio.TaskGroup() as group:
            for name, loop in loops:
                group.create_task(_keep_running(name, loop, stop), name=name)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` on SIGTERM and SIGINT: what runs is finished, nothing new is taken."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _keep_running(name: str, loop: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``loop`` again whenever it ends before ``stop`` is set, waiting longer each time it ends soon."""
    failures = 0
    while not stop.is_set():
        started = monotonic()
        try:
            await loop()
            if not stop.is_set():
                _log.warning("the %s loop ended by itself and is started again", name)
        except Exception as error:
            if isinstance(error, psycopg.errors.UndefinedFunction):
                raise SchemaOutdated("the database does not fit this release: run `slaq migrate`") from error
            _log.warning("the %s loop failed and is started again: %s", name, error)
            _log.debug("why the %s loop failed", name, exc_info=True)
        failures = 0 if monotonic() - started > LONGEST_RESTART else failures + 1
        await _wait(min(0.25 * 2**failures, LONGEST_RESTART), stop)


async def _run_queue(app: App, settings: Settings, stop: asyncio.Event) -> None:
    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(
                queues=[QUEUE, EVENTS_QUEUE],
                concurrency=settings.concurrency,
                delete_jobs="successful",
                fetch_job_polling_interval=2.0,
                install_signal_handlers=False,
                shutdown_graceful_timeout=GRACEFUL,
                update_heartbeat_interval=HEARTBEAT,
                stalled_worker_timeout=STALE.total_seconds(),
            )
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            running.cancel()  # which the engine takes as a graceful stop
            await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error


async def _recover(pool: AsyncConnectionPool[AsyncConnection[Any]], settings: Settings, stop: asyncio.Event) -> None:
    """Give the jobs of dead workers back to the queue."""
    while not stop.is_set():
        async with pool.connection() as conn:
            cursor = await conn.execute(query("timer", "now", settings.schema))
            row = await cursor.fetchone()
            parameters = {"now": row[0] if row else None, "stale": STALE, "attempts": ATTEMPTS}
            cursor = await conn.execute(query("timer", "recover_stalled_jobs", settings.schema), parameters)
            recovered = [job for (job,) in await cursor.fetchall()]
        if recovered:
            _log.warning("jobs of dead workers given back to the queue: %s", recovered)
        await _wait(RECOVERY, stop)


async def _has_schema(settings: Settings, conninfo: str, stop: asyncio.Event) -> bool:
    """Refuse a database without this release's schema, wait for one that is not there yet; false when stopped meanwhile."""
    while not stop.is_set():
        try:
            async with await AsyncConnection.connect(conninfo, autocommit=True) as conn:
                cursor = await conn.execute("SELECT to_regprocedure(%s)", [f"{settings.schema}.next_wake(timestamptz)"])
                row = await cursor.fetchone()
        except psycopg.OperationalError as error:
            _log.warning("Postgres cannot be reached, waiting for it: %s", error)
            await _wait(2, stop)
            continue
        if row is None or row[0] is None:
            raise SchemaOutdated(f"schema {settings.schema!r} of this database has no tables of slaq: run `slaq migrate`")
        return True
    return False


@asynccontextmanager
async def _pool(conninfo: str, size: int) -> AsyncIterator[AsyncConnectionPool[AsyncConnection[Any]]]:
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        conninfo, kwargs={"autocommit": True}, min_size=1, max_size=size, open=False, check=AsyncConnectionPool.check_connection
    )
    async with pool:
        yield pool


async def _wait(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass
