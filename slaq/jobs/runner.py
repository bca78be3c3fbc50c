"""A worker of queues: Procrastinate's loop over slaq's manager, with upkeep beside it.

Everything is started again when it ends before a stop was asked for; an outage of Postgres makes it wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import attrs
from procrastinate import App, JobContext, PsycopgConnector
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from slaq.clock import monotonic
from slaq.errors import ConfigurationError
from slaq.jobs.eager import EagerWorker
from slaq.jobs.events import Event, EventName
from slaq.jobs.execute import Claim, Outcome, perform
from slaq.jobs.handlers import Handler, Handlers
from slaq.jobs.loops import keep_running
from slaq.jobs.manager import SlaqJobManager
from slaq.jobs.upkeep import STALE, look_after
from slaq.store.queries import DEFAULT_SCHEMA

Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[Any]]

HEARTBEAT = 5.0
PATIENCE = 5.0
"""Seconds that a call waits for a connection, and a pool tries to make one; then the loop that asked starts again."""
NAME = "slaq worker: queue"
_ENDS = (EventName.COMPLETED, EventName.RETRIED, EventName.FAILED, EventName.DEAD_LETTERED)


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
    upkeep_interval: float | None = 5.0
    """How often schedules and sweeps are looked at; None: somebody else does."""
    grace: float = 30.0
    """How long running jobs may go on once a stop is asked for; then they are cancelled and retried."""
    is_listening: bool = True
    on_run: list[Callable[[Claim, float], None]] = attrs.field(factory=list)
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
            loops: list[tuple[str, Callable[[], Awaitable[None]]]] = [
                ("queue", lambda: self._work(pool, handlers, stop))
            ]
            if (interval := self.upkeep_interval) is not None:
                loops.append(("upkeep", lambda: look_after(pool, self.schema, self.app, interval, stop)))
            async with asyncio.TaskGroup() as group:
                for name, loop in loops:
                    group.create_task(keep_running(name, self._telling(name, loop), stop), name=name)
        await self.app.emit(Event(EventName.STOPPED, "the worker has ended"))

    def _telling(self, name: str, loop: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            try:
                await loop()
            except Exception as error:
                await self.app.emit(Event(EventName.ERROR, f"the {name} loop failed: {error!r}"))
                raise

        return run

    async def _work(self, pool: Pool, handlers: dict[str, Handler], stop: asyncio.Event, *, once: bool = False) -> None:
        connector = _connector(self.conninfo, self.schema)
        engine = App(connector=connector)
        manager = SlaqJobManager(
            connector, pool, self.schema, handlers, self.concurrency, self.app, self._report, is_once=once
        )
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
                manager.took(handler.queue, seconds)
                for listener in self.on_run:
                    listener(claim, seconds)

        return run

    async def _report(self, outcomes: Sequence[Outcome], ended: Mapping[int, str]) -> None:
        """Tell the listeners how runs ended, once Postgres knows."""
        if not self.app.has_listeners(*_ENDS):
            return
        for outcome in outcomes:
            job = outcome.job
            how = ended.get(job.id)
            if how is None:
                continue
            output = None if outcome.output is None else json.loads(outcome.output)
            message = f"job {job.id} of queue {job.queue}: {how} in attempt {job.attempt}"
            await self.app.emit(Event(EventName(how), message, job.queue, job, output))
            if how == EventName.FAILED and (letters := job.metadata.get("dead_letter")):
                copied = f"job {job.id} of queue {job.queue} has a copy in {letters}"
                await self.app.emit(Event(EventName.DEAD_LETTERED, copied, job.queue, job, output))

    async def _run_engine(
        self, engine: App, manager: SlaqJobManager, queues: list[str], stop: asyncio.Event, *, once: bool
    ) -> None:
        worker = EagerWorker(
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

    @asynccontextmanager
    async def _pool(self) -> AsyncGenerator[Pool, None]:
        """Autocommit connections that are not checked first: fetching and settling are one statement each."""
        pool: Pool = AsyncConnectionPool(
            self.conninfo, kwargs={"autocommit": True, "application_name": NAME}, min_size=1, max_size=4, open=False,
            timeout=PATIENCE, reconnect_timeout=PATIENCE,
        )  # fmt: skip
        async with pool:
            yield pool


class _Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """Gives up opening as soon as it gives up anything else; the engine leaves it half a minute."""

    async def open(self, wait: bool = False, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - the pool's signature
        await super().open(wait, timeout)


def _connector(conninfo: str, schema: str) -> PsycopgConnector:
    """For what the engine asks by itself: heartbeats, jobs to abort, notifications."""

    async def configure(conn: AsyncConnection[Any]) -> None:
        # Not in the pool's kwargs: `options` would replace the login's own, and `autocommit` breaks LISTEN.
        await conn.set_autocommit(True)
        await conn.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))

    return PsycopgConnector(
        pool_factory=_Pool, conninfo=conninfo, kwargs={"application_name": NAME}, min_size=1, max_size=2,
        timeout=PATIENCE, reconnect_timeout=PATIENCE, configure=configure,
    )  # fmt: skip
