"""The worker process: the queue, the timer loop beside it, and the recovery of what dead workers left.

Each of them is restarted when it ends, whatever the reason: an outage of Postgres makes the worker wait,
not stop. The process ends when it is asked to, or when a restart cannot help.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
from procrastinate import App
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.backends.select import SlaBackendFactory
from slaq.clock import DatabaseClock
from slaq.config import Settings
from slaq.delivery.transport import transport_for
from slaq.errors import ConfigurationError, SchemaOutdated
from slaq.jobs.engine import EVENTS_QUEUE, PATIENCE, QUEUE, make_app
from slaq.jobs.loops import keep_running, sleep
from slaq.jobs.tasks import OnThreshold, add_tasks, log_threshold
from slaq.jobs.timer import Timer
from slaq.jobs.watch import watch_temporal
from slaq.services.verbs import Verbs
from slaq.store.database import Row, Statement, Steps, run_async
from slaq.store.queries import query

_log = logging.getLogger("slaq.worker")

POLL = 2.0
CONNECTING = 5
HEARTBEAT = 5.0
STALE = timedelta(seconds=20)
RECOVERY = 5.0
ATTEMPTS = 25
GRACEFUL = 30.0
LOCK_TIMEOUT = "5s"


async def run_worker(
    settings: Settings, conninfo: str, stop: asyncio.Event, on_threshold: OnThreshold = log_threshold
) -> None:
    """Work until ``stop`` is set.

    Raises ``SchemaOutdated`` when the database lacks this release's tables, ``ConfigurationError`` when a
    setting is wrong or the login may not work here.
    """
    transport = transport_for(settings)
    if not await may_begin(settings, conninfo, stop):
        return
    # enough for every job, every ticket of the timer's pass and the recovery at once
    async with open_pool(conninfo, 2 * settings.concurrency + 2) as pool:
        grace = timedelta(seconds=settings.grace)
        timer = Timer(pool, settings.schema, settings.concurrency, settings.loop_interval, grace)
        verbs = Verbs(SlaBackendFactory(settings).get_backend(), DatabaseClock(), settings.schema)

        async def work_queue() -> None:
            app = make_app(conninfo, settings.schema, settings.concurrency + 2)
            add_tasks(app, settings, pool, verbs, timer, transport, on_threshold)
            await _run_queue(app, settings, stop)

        loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("queue", work_queue),
            ("recovery", lambda: _recover(pool, settings, stop)),
            ("watch", lambda: watch_temporal(pool, settings, timer, stop)),
        ]
        if settings.loop_interval:
            loops.append(("timer", lambda: timer.run(stop)))
        async with asyncio.TaskGroup() as group:
            for name, loop in loops:
                group.create_task(keep_running(name, loop, stop), name=name)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` on SIGTERM and SIGINT: what runs is finished, nothing new is taken. A second signal ends the process."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        _log.info("stopping: what runs is finished; signal again to end at once")
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)


async def _run_queue(app: App, settings: Settings, stop: asyncio.Event) -> None:
    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(
                queues=[QUEUE, EVENTS_QUEUE],
                concurrency=settings.concurrency,
                delete_jobs="successful",
                fetch_job_polling_interval=POLL,
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
        await sleep(RECOVERY, stop)


async def may_begin(settings: Settings, conninfo: str, stop: asyncio.Event) -> bool:
    """Refuse a database that does not fit, wait for one that is not there yet; false when stopped meanwhile."""
    while not stop.is_set():
        try:
            async with await AsyncConnection.connect(conninfo, connect_timeout=CONNECTING) as conn:
                fits, may_work, login = await run_async(conn, _check(settings.schema))
        except psycopg.OperationalError as error:
            _log.warning("Postgres cannot be reached, waiting for it: %s", error)
            await sleep(2, stop)
            continue
        if not fits:
            raise SchemaOutdated(
                f"schema {settings.schema!r} of this database has no tables of slaq: run `slaq migrate`"
            )
        if not may_work:
            raise ConfigurationError(
                f"the login {login!r} may not work here: run `slaq migrate --grant-worker-to {login}`"
            )
        return True
    return False


def _check(schema: str) -> Steps[Row]:
    """Whether the newest function that a worker calls is there, whether this login may call it, and its name."""
    rows = yield Statement(query("timer", "may_work", schema), {"schema": schema})
    return rows[0]


@asynccontextmanager
async def open_pool(conninfo: str, size: int) -> AsyncGenerator[AsyncConnectionPool[AsyncConnection[Any]], None]:
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        conninfo,
        kwargs={"autocommit": True, "application_name": "slaq worker"},
        min_size=1,
        max_size=size,
        timeout=PATIENCE,
        reconnect_timeout=PATIENCE,
        open=False,
        check=AsyncConnectionPool.check_connection,
        configure=_configure,
    )
    async with pool:
        yield pool


async def _configure(conn: AsyncConnection[Any]) -> None:
    """Let nobody's lock hold up the tickets that wait behind: such a ticket is put off."""
    await conn.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
