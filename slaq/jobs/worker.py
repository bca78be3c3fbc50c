"""The worker process: slaq's queues and the application's, the timer loop and the watch over Temporal beside them.

Each of them is restarted when it ends, whatever the reason: an outage of Postgres makes the worker wait,
not stop. The process ends when it is asked to, or when a restart cannot help.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.backends.select import SlaBackendFactory
from slaq.clock import DatabaseClock
from slaq.config import Settings
from slaq.delivery.transport import transport_for
from slaq.errors import ConfigurationError, SchemaOutdated
from slaq.jobs.loops import keep_running, sleep
from slaq.jobs.metrics import Metrics
from slaq.jobs.own import EVENT, OnThreshold, log_threshold, own_handlers
from slaq.jobs.runner import PATIENCE, QueueWorker
from slaq.jobs.timer import Timer
from slaq.jobs.watch import watch_temporal
from slaq.services.verbs import Verbs
from slaq.store.database import Row, Statement, Steps, run_async
from slaq.store.queries import query

_log = logging.getLogger("slaq.worker")

CONNECTING = 5
LOCK_TIMEOUT = "5s"


async def run_worker(
    settings: Settings,
    conninfo: str,
    stop: asyncio.Event,
    on_threshold: OnThreshold = log_threshold,
    app: QueueWorker | None = None,
    metrics: Metrics | None = None,
) -> None:
    """Work until ``stop`` is set; ``app`` runs the application's queues beside slaq's.

    A handler of the application for ``sla-threshold-reached`` replaces ``on_threshold``. Raises ``SchemaOutdated``
    when the database lacks this release's tables, ``ConfigurationError`` when a setting is wrong, the login may not
    work here, or the application handles a queue that is slaq's own.
    """
    transport = transport_for(settings)
    if not await may_begin(settings, conninfo, stop):
        return
    # enough for every job, every ticket of the timer's pass and the watch at once
    async with open_pool(conninfo, 2 * settings.concurrency + 2) as pool:
        timer = Timer(
            pool, settings.schema, settings.concurrency, settings.loop_interval, timedelta(seconds=settings.grace)
        )
        verbs = Verbs(SlaBackendFactory(settings).get_backend(), DatabaseClock(), settings.schema)
        own = QueueWorker(
            own_handlers(settings, pool, verbs, timer, transport, on_threshold), conninfo, settings.schema,
            concurrency=settings.concurrency,
        )  # fmt: skip
        if metrics is not None:
            metrics.timer = timer
        async with asyncio.TaskGroup() as group:
            for worker in _side_by_side(own, app):
                if metrics is not None:
                    worker.on_run.append(metrics.note)
                group.create_task(worker.run(stop), name=", ".join(worker.chosen()))
            loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
                ("watch", lambda: watch_temporal(pool, settings, timer, stop))
            ]
            if settings.loop_interval:
                loops.append(("timer", lambda: timer.run(stop)))
            for name, loop in loops:
                group.create_task(keep_running(name, loop, stop), name=name)


def _side_by_side(own: QueueWorker, app: QueueWorker | None) -> Iterator[QueueWorker]:
    """Slaq's queues and the application's, each with a loop of its own so that neither holds up the other."""
    if app is not None:
        taken = own.app.handlers.keys() & app.chosen()
        if taken - {EVENT}:
            raise ConfigurationError(f"queue {min(taken - {EVENT})!r} is slaq's own; handle {EVENT!r} instead")
        for name in taken:
            del own.app.handlers[name]
        app.upkeep_interval = None
        yield app
    yield own


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
