"""Procrastinate's job manager with slaq's statements: it fetches, settles, and outlives an outage.

Procrastinate's worker asks ``app.job_manager`` for everything it does in the database, so that these
methods are all that its loop needs to run slaq's queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job as EngineJob
from procrastinate.jobs import Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.clock import monotonic
from slaq.jobs import managing, verbs
from slaq.jobs.calls import Call, run_call_async
from slaq.jobs.events import Listeners
from slaq.jobs.execute import Claim, Outcome, failure
from slaq.jobs.handlers import Handler
from slaq.jobs.model import Job, UnknownQueue
from slaq.jobs.settle import OUTAGE, Settler

_log = logging.getLogger("slaq.jobs")
_QUICK = 0.02
"""Seconds: jobs that take no longer on average are fetched ahead."""
_PATIENCE = 1.0
_LONGEST_AHEAD = 1.0
"""Seconds that a job may wait here for its turn before others may have it; looked at with each heartbeat."""
_MISSING = 10.0
_UNLOCKED = ("standard", "short", "exclusive")

Report = Callable[[Sequence[Outcome], Mapping[int, str]], Awaitable[None]]


class SlaqJobManager(JobManager):
    """Runs the jobs of ``handlers``' queues, up to ``concurrency`` at a time.

    ``report`` is told how runs ended. With ``is_once`` the end of the ready jobs is only reached when those are done
    that may make others ready.
    """

    def __init__(
        self,
        connector: BaseConnector,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        schema: str,
        handlers: Mapping[str, Handler],
        concurrency: int,
        listeners: Listeners,
        report: Report,
        *,
        is_once: bool = False,
    ) -> None:
        super().__init__(connector)
        self._pool = pool
        self._schema = schema
        self._handlers = handlers
        self._concurrency = concurrency
        self._listeners = listeners
        self._report = report
        self._is_once = is_once
        self._settler = Settler(pool, schema, self._ahead)
        self._buffer: deque[EngineJob] = deque()
        self._filled_at = 0.0
        self._turn = 0
        self._running: Counter[str] = Counter()
        self._settling = 0
        self._policies: dict[str, str] = {}
        self._missing: set[str] = set()
        self._seconds: dict[str, float] = defaultdict(lambda: 1.0)
        self._settled = asyncio.Event()
        self.wake: Callable[[], None] = lambda: None
        """Has the worker look again."""
        self._is_stopping = False

    async def register_worker(self) -> int:
        self._settler.worker_id = await super().register_worker()
        return self._settler.worker_id

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> EngineJob | None:
        """The next call of a handler: from what was fetched ahead, or from the queues in turn."""
        names = list(queues or self._handlers)
        while not self._buffer and not self._is_stopping:
            self._settled.clear()
            await self._refill(names, worker_id)
            if self._buffer or not self._is_once or not self._running.total():
                break
            await self._settled.wait()
        while self._buffer and self._buffer[0].id in self._settler.told_ahead:  # slots became free meanwhile
            await self._settler.tell_ahead()
        if not self._buffer:
            return None
        job = self._buffer.popleft()
        self._running[str(job.queue)] += 1
        return job

    async def fetch_ahead(self, worker_id: int) -> None:
        """Have the next jobs at hand before there is room for them, where they are quick and hold nothing."""
        if not self._buffer and not self._is_stopping:
            quick = [each for each in self._handlers.values() if self._seconds[each.queue] < _QUICK]
            names = [each.queue for each in quick if await self._may_wait_here(each)]
            if names:
                await self._refill(names, worker_id)

    async def finish_job(self, job: EngineJob, status: Status, delete_job: bool) -> None:
        """Settle what ``job`` stands for by its handler's outcomes; without any it was interrupted."""
        claim = _claim(job)
        outcomes = claim.outcomes
        if outcomes is None:
            outcomes = [failure(each, asyncio.CancelledError()) for each in claim.jobs]
        self._settling += 1
        try:
            ended = await self._settler.settle(outcomes)
        finally:
            self._settling -= 1
            self._running[str(job.queue)] -= 1
            self._settled.set()
        if self._handlers[str(job.queue)].concurrency is not None:
            self.wake()
        await self._report(outcomes, ended)

    async def give_back(self, worker_id: int) -> None:
        """Fetch no more, and let others have what was fetched but not started."""
        self._is_stopping = True
        await self._give_back_ahead(worker_id)

    async def unregister_worker(self, worker_id: int) -> None:
        """Leave nothing behind: the worker's row, once gone, takes its jobs' fence with it."""
        await self._settler.drain()
        await self.give_back(worker_id)
        await super().unregister_worker(worker_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Beat; a missed beat must not end the worker, only a long silence costs it its jobs."""
        try:
            await super().update_heartbeat(worker_id)
            if self._buffer and monotonic() - self._filled_at > _LONGEST_AHEAD:
                await self._give_back_ahead(worker_id)
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

    def took(self, queue: str, seconds: float) -> None:
        """Learn how long the jobs of a queue take, which decides whether to fetch ahead."""
        self._seconds[queue] += (seconds - self._seconds[queue]) * 0.2

    async def _refill(self, queues: list[str], worker_id: int) -> None:
        try:
            await self._look(queues, worker_id)
        except OUTAGE as error:
            _log.warning("no jobs can be fetched for now: %s", error)
            await asyncio.sleep(_PATIENCE)

    async def _look(self, queues: list[str], worker_id: int) -> None:
        for offset in range(len(queues)):
            queue = queues[(self._turn + offset) % len(queues)]
            if queue in self._missing:
                continue
            handler = self._handlers[queue]
            room, ahead = await self._room(handler)
            if room + ahead < 1:
                continue
            size = handler.batch_size or 1
            # half of the free slots get their batches at a time: the others' are fetched while these run and are settled
            limit = room if handler.batch_size is None else (room + 1) // 2 * size
            jobs = await self._fetch(handler, limit, ahead, worker_id)
            if jobs:
                self._turn = (self._turn + offset + 1) % len(queues)
                self._buffer.extend(_engine_job(jobs[at : at + size], worker_id) for at in range(0, len(jobs), size))
                self._filled_at = monotonic()
                self._settler.told_ahead = [job.id for job in jobs[room:]] if ahead else []
                return

    async def _room(self, handler: Handler) -> tuple[int, int]:
        """How many calls of ``handler`` may begin now, or as soon as what is being settled is; and how many more later."""
        free = self._concurrency - self._running.total()
        if self._seconds[handler.queue] < _QUICK and await self._may_wait_here(handler):
            return free + self._settling, self._concurrency - free - self._settling
        if handler.concurrency is None:
            return free, 0
        return min(free, handler.concurrency - self._running[handler.queue]), 0

    async def _may_wait_here(self, handler: Handler) -> bool:
        """Whether its jobs may be claimed before they begin without keeping others from running."""
        if handler.batch_size is not None or handler.concurrency is not None or handler.groups is not None:
            return False
        if handler.queue not in self._policies:
            found = await self._run(managing.get_queues(handler.queue))
            self._policies |= {queue.name: queue.policy for queue in found}
        return self._policies.get(handler.queue) in _UNLOCKED

    async def _fetch(self, handler: Handler, limit: int, ahead: int, worker_id: int) -> list[Job]:
        try:
            return await self._run(
                verbs.fetch(handler.queue, limit, worker=worker_id, groups=handler.groups, ahead=ahead)
            )
        except UnknownQueue as error:
            await self._listeners.warn(f"queue {handler.queue} has a handler but does not exist yet: {error}")
            self._missing.add(handler.queue)
            asyncio.get_running_loop().call_later(_MISSING, self._missing.discard, handler.queue)
            return []

    def _ahead(self) -> list[int]:
        """What is left of the jobs fetched ahead once what is being settled has made room for others."""
        begin = self._concurrency - self._running.total() + self._settling
        return [job.id for engine_job in islice(self._buffer, begin, None) for job in _claim(engine_job).jobs]

    async def _give_back_ahead(self, worker_id: int) -> None:
        unbegun = list(self._buffer)
        self._buffer.clear()
        if not unbegun:
            return
        try:
            await self._run(verbs.unfetch(worker_id, [job.id for each in unbegun for job in _claim(each).jobs]))
        except BaseException:
            self._buffer.extend(unbegun)
            raise
        self._settler.told_ahead = []

    async def _run(self, call: Call[Any]) -> Any:
        async with self._pool.connection() as conn:
            return await run_call_async(conn, call, self._schema)


def _engine_job(jobs: list[Job], worker_id: int) -> EngineJob:
    first = jobs[0]
    return EngineJob(
        id=first.id if len(jobs) == 1 else -first.id,  # cancelling one job of a batch interrupts none of the others
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
