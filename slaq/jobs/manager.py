"""Procrastinate's job manager with slaq's statements: it fetches, settles, and outlives an outage.

Procrastinate's worker asks ``app.job_manager`` for everything it does in the database, so that these
methods are all that its loop needs to run slaq's queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job as EngineJob
from procrastinate.jobs import Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.jobs import managing, verbs
from slaq.jobs.calls import Call, run_call_async
from slaq.jobs.execute import Claim, failure
from slaq.jobs.handlers import Handler
from slaq.jobs.model import Job, UnknownQueue
from slaq.jobs.settle import OUTAGE, Settler

_log = logging.getLogger("slaq.jobs")
_QUICK = 0.02
"""Seconds: jobs that take no longer on average are fetched ahead."""
_PATIENCE = 1.0
_UNLOCKED = ("standard", "short", "exclusive")


class SlaqJobManager(JobManager):
    """Runs the jobs of ``handlers``' queues, up to ``concurrency`` at a time."""

    def __init__(
        self,
        connector: BaseConnector,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        schema: str,
        handlers: Mapping[str, Handler],
        concurrency: int,
    ) -> None:
        super().__init__(connector)
        self._pool = pool
        self._schema = schema
        self._handlers = handlers
        self._concurrency = concurrency
        self._settler = Settler(pool, schema)
        self._buffer: deque[EngineJob] = deque()
        self._turn = 0
        self._running = 0
        self._policies: dict[str, str] = {}
        self._missing: set[str] = set()
        self._seconds = 1.0
        self._is_stopping = False

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> EngineJob | None:
        """The next call of a handler: from what was fetched ahead, or from the queues in turn."""
        if not self._buffer and not self._is_stopping:
            try:
                await self._refill(list(queues or self._handlers), worker_id)
            except OUTAGE as error:
                _log.warning("no jobs can be fetched for now: %s", error)
                await asyncio.sleep(_PATIENCE)
        if not self._buffer:
            return None
        self._running += 1
        return self._buffer.popleft()

    async def finish_job(self, job: EngineJob, status: Status, delete_job: bool) -> None:
        """Settle what ``job`` stands for by its handler's outcomes; without any it was interrupted."""
        claim = _claim(job)
        self._running -= 1
        outcomes = claim.outcomes
        if outcomes is None:
            outcomes = [failure(each, asyncio.CancelledError()) for each in claim.jobs]
        await self._settler.settle(outcomes)

    async def give_back(self, worker_id: int) -> None:
        """Fetch no more, and let others have what was fetched but not started."""
        self._is_stopping = True
        ids = [job.id for engine_job in self._buffer for job in _claim(engine_job).jobs]
        self._buffer.clear()
        if ids:
            await self._run(verbs.unfetch(worker_id, ids))

    async def unregister_worker(self, worker_id: int) -> None:
        """Leave nothing behind: the worker's row, once gone, takes its jobs' fence with it."""
        await self._settler.drain()
        await self.give_back(worker_id)
        await super().unregister_worker(worker_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Beat; a missed beat must not end the worker, only a long silence costs it its jobs."""
        try:
            await super().update_heartbeat(worker_id)
        except Exception as error:
            _log.warning("the worker's heartbeat could not be written: %s", error)

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen, and listen again when the connection is lost."""
        while True:
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except Exception as error:
                _log.warning("notifications are not heard for now: %s", error)
            await asyncio.sleep(_PATIENCE)

    def took(self, seconds: float) -> None:
        """Learn how long a job took, which decides whether to fetch ahead."""
        self._seconds += (seconds - self._seconds) * 0.2

    async def _refill(self, queues: list[str], worker_id: int) -> None:
        for offset in range(len(queues)):
            queue = queues[(self._turn + offset) % len(queues)]
            if queue in self._missing:
                continue
            handler = self._handlers[queue]
            jobs = await self._fetch(handler, await self._limit(handler), worker_id)
            if jobs:
                self._turn = (self._turn + offset + 1) % len(queues)
                size = handler.batch_size or 1
                self._buffer.extend(_engine_job(jobs[at : at + size], worker_id) for at in range(0, len(jobs), size))
                return

    async def _fetch(self, handler: Handler, limit: int, worker_id: int) -> list[Job]:
        try:
            return await self._run(verbs.fetch(handler.queue, limit, worker=worker_id, groups=handler.groups))
        except UnknownQueue as error:
            _log.warning("queue %s has a handler but does not exist yet: %s", handler.queue, error)
            self._missing.add(handler.queue)
            asyncio.get_running_loop().call_later(10, self._missing.discard, handler.queue)
            return []

    async def _limit(self, handler: Handler) -> int:
        """How many jobs to claim: what can start now; as many as may run, when they are quick and hold no lock."""
        if handler.batch_size is not None:
            return handler.batch_size
        if handler.queue not in self._policies:
            self._policies |= {
                queue.name: queue.policy for queue in await self._run(managing.get_queues(handler.queue))
            }
        if handler.groups is not None or self._policies.get(handler.queue) not in _UNLOCKED:
            return 1
        return self._concurrency if self._seconds < _QUICK else max(self._concurrency - self._running, 1)

    async def _run(self, call: Call[Any]) -> Any:
        async with self._pool.connection() as conn:
            return await run_call_async(conn, call, self._schema)


def _engine_job(jobs: list[Job], worker_id: int) -> EngineJob:
    first = jobs[0]
    return EngineJob(
        id=first.id,
        status=Status.DOING.value,
        queue=first.queue,
        priority=first.priority,
        lock=None,
        queueing_lock=None,
        task_name=f"slaq:{first.queue}",
        task_kwargs={"claim": Claim(jobs)},  # pyright: ignore[reportArgumentType] - never leaves this process
        attempts=first.attempt,
        worker_id=worker_id,
    )


def _claim(job: EngineJob) -> Claim:
    claim: Any = job.task_kwargs["claim"]
    return claim
