"""Procrastinate's worker with a loop of its own: what is there starts at once, and the next is fetched meanwhile.

Its own loop starts one job a turn, with half a dozen tasks around each, so that the jobs of one fetch tell Postgres of
their ends one by one instead of together; and it forgets a notification that comes while it fetches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, cast

from procrastinate import utils
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job
from procrastinate.worker import Worker

from slaq.jobs.manager import SlaqJobManager


class EagerWorker(Worker):
    """A ``Worker`` over a ``SlaqJobManager``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._freed = asyncio.Event()
        self._manager = cast("SlaqJobManager", self.app.job_manager)
        self._manager.wake = self._new_job_event.set

    async def _fetch_and_process_jobs(self) -> None:
        worker_id = cast("int", self.worker_id)
        while not self._stop_event.is_set():
            if self._job_semaphore.locked():
                self._freed.clear()
                await self._manager.fetch_ahead(worker_id)
                if self._job_semaphore.locked():
                    await utils.wait_any(self._freed.wait(), self._stop_event.wait())
                continue
            self._new_job_event.clear()  # before looking, so that what comes while it looks is looked for again
            job = await self._manager.fetch_job(self.queues, worker_id)
            if job is not None:
                await self._job_semaphore.acquire()
                self._start(job)
            elif not self._new_job_event.is_set():
                return

    def _start(self, job: Job) -> None:
        context = JobContext(
            app=self.app,
            worker_name=self.worker_name,
            worker_queues=self.queues,
            job=job,
            abort_reason=lambda: self._job_ids_to_abort.get(job.id or 0),
            start_timestamp=time.time(),  # noqa: TID251 - the engine's own measure
        )
        task = asyncio.create_task(self._process_job(context), name=f"process job {job.task_name}[{job.id}]")
        self._running_jobs[task] = context
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._running_jobs[task]
        self._job_semaphore.release()
        self._freed.set()

    def _log_extra(self, *args: Any, **options: Any) -> Any:
        """What a log line says beside its text; the engine asks for it four times a job, logged or not."""
        return super()._log_extra(*args, **options) if self.logger.isEnabledFor(logging.INFO) else {}
