"""A worker of the application's queues: Procrastinate's loop over slaq's manager, with schedules and upkeep beside it.

Everything is started again when it ends before a stop was asked for; an outage of Postgres makes it wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import attrs
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.worker import Worker
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.clock import monotonic
from slaq.errors import ConfigurationError
from slaq.jobs import managing
from slaq.jobs.calls import Call, run_call_async
from slaq.jobs.execute import Claim, perform
from slaq.jobs.handlers import Handler, Handlers
from slaq.jobs.loops import keep_running, sleep
from slaq.jobs.manager import SlaqJobManager
from slaq.jobs.schedule import due_tick
from slaq.store.queries import DEFAULT_SCHEMA

_log = logging.getLogger("slaq.jobs")
T = TypeVar("T")

HEARTBEAT = 5.0
STALE = timedelta(seconds=30)
_DELETE_EVERY = 600.0


@attrs.define
class QueueWorker:
    """Runs the handlers of ``app`` until it is told to stop. Intervals are in seconds."""

    app: Handlers
    conninfo: str
    schema: str = DEFAULT_SCHEMA
    queues: list[str] | None = None
    """Only these of the handlers' queues."""
    concurrency: int = 10
    polling_interval: float = 1.0
    """Longest wait before looking again; jobs that are ready at once are notified in milliseconds."""
    upkeep_interval: float = 10.0
    """How often schedules and sweeps are looked at."""
    grace: float = 30.0
    """How long running jobs may go on once a stop is asked for; then they are cancelled and retried."""
    is_listening: bool = True
    on_settled: list[Callable[[Claim, float], None]] = attrs.field(factory=list)
    """Called after each call of a handler, with its jobs and outcomes, and the seconds it took."""

    def chosen(self) -> dict[str, Handler]:
        """The handlers to run; raises ``ConfigurationError`` for a queue that has none."""
        if not self.app.handlers:
            raise ConfigurationError("no queue has a handler: decorate one with @queue.work(name)")
        for name in self.queues or []:
            if name not in self.app.handlers:
                raise ConfigurationError(f"queue {name!r} has no handler; there are {', '.join(self.app.handlers)}")
        return {name: handler for name, handler in self.app.handlers.items() if not self.queues or name in self.queues}

    async def run(self, stop: asyncio.Event, *, once: bool = False) -> None:
        """Work until ``stop`` is set; with ``once`` until nothing is ready."""
        handlers = self.chosen()
        async with self._pool() as pool:
            if once:
                await self._work(pool, handlers, stop, once=True)
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_running("queue worker", lambda: self._work(pool, handlers, stop), stop))
                group.create_task(keep_running("upkeep", lambda: self._upkeep(pool, stop), stop))

    async def _work(
        self,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        handlers: dict[str, Handler],
        stop: asyncio.Event,
        *,
        once: bool = False,
    ) -> None:
        connector = PsycopgConnector(
            conninfo=self.conninfo, kwargs={"options": f"-c search_path={self.schema}"}, min_size=1, max_size=2
        )
        engine = App(connector=connector)
        manager = SlaqJobManager(connector, pool, self.schema, handlers, self.concurrency)
        engine.job_manager = manager
        threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="slaq-job")
        for handler in handlers.values():
            engine.task(name=f"slaq:{handler.queue}", pass_context=True)(self._task(handler, manager, threads))
        try:
            async with engine.open_async():
                await self._run_engine(engine, manager, list(handlers), stop, once=once)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # a handler that hangs must not hold up the others

    def _task(
        self, handler: Handler, manager: SlaqJobManager, threads: ThreadPoolExecutor
    ) -> Callable[..., Awaitable[None]]:
        async def run(context: JobContext, claim: Claim) -> None:  # noqa: ARG001 - the engine's signature
            started = monotonic()
            try:
                await perform(handler, claim, threads)
            finally:
                seconds = monotonic() - started
                manager.took(seconds)
                for listener in self.on_settled:
                    listener(claim, seconds)

        return run

    async def _run_engine(
        self, engine: App, manager: SlaqJobManager, queues: list[str], stop: asyncio.Event, *, once: bool
    ) -> None:
        worker = Worker(
            engine, queues, concurrency=self.concurrency, wait=not once, fetch_job_polling_interval=self.polling_interval,
            abort_job_polling_interval=5.0, shutdown_graceful_timeout=self.grace, listen_notify=self.is_listening and not once,
            install_signal_handlers=False, update_heartbeat_interval=HEARTBEAT, stalled_worker_timeout=STALE.total_seconds(),
        )  # fmt: skip
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            worker.stop()
            if worker.worker_id is not None:
                await manager.give_back(worker.worker_id)
            await asyncio.wait({running})
        if (error := running.exception()) is not None:
            raise error

    async def _upkeep(self, pool: AsyncConnectionPool[AsyncConnection[Any]], stop: asyncio.Event) -> None:
        """Send what schedules have due, and sweep."""
        deleted = monotonic() - _DELETE_EVERY
        while not stop.is_set():
            async with pool.connection() as conn:
                await tick(conn, self.schema)
                swept = await run_call_async(conn, managing.sweep(STALE), self.schema)
                if any(swept.values()):
                    _log.warning("jobs that nobody settled: %(stalled)d stalled, %(expired)d expired", swept)
                if monotonic() - deleted >= _DELETE_EVERY:
                    deleted = monotonic()
                    await run_call_async(conn, managing.delete_old(), self.schema)
                    await _warn_of_backlog(conn, self.schema)
            await sleep(self.upkeep_interval, stop)

    @asynccontextmanager
    async def _pool(self) -> AsyncGenerator[AsyncConnectionPool[AsyncConnection[Any]], None]:
        """Autocommit connections that are not checked first: fetching and settling are one statement each."""
        pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            self.conninfo, kwargs={"autocommit": True}, min_size=1, max_size=4, open=False, timeout=10
        )
        async with pool:
            yield pool


async def tick(conn: AsyncConnection[Any], schema: str) -> list[int]:
    """Send the jobs of all schedules that are due; ids of the jobs. Many may tick at once: each tick is sent once."""
    schedules = await run_call_async(conn, managing.get_schedules(), schema)
    now = await run_call_async(conn, managing.now(), schema) if schedules else None
    sent: list[int] = []
    for schedule in schedules:
        try:
            due = due_tick(schedule, now) if now is not None else None
            job = await run_call_async(conn, managing.fire(schedule, due), schema) if due is not None else None
        except (KeyError, ValueError):
            _log.exception("schedule %r of queue %s cannot be evaluated and is left out", schedule.key, schedule.queue)
            continue
        if job is not None:
            sent.append(job)
    return sent


async def _warn_of_backlog(conn: AsyncConnection[Any], schema: str) -> None:
    call: Call[Any] = managing.get_queue_stats()
    for stats in await run_call_async(conn, call, schema):
        if stats.ready > stats.warning_size:
            _log.warning("queue %s has %d ready jobs, more than %d", stats.name, stats.ready, stats.warning_size)
