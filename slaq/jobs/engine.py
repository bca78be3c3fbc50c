"""Procrastinate, as slaq uses it: its tables in slaq's schema, and jobs that no failure loses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container
from datetime import timedelta
from typing import Any

from procrastinate import App, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy
from psycopg import AsyncConnection, errors, sql
from psycopg_pool import AsyncConnectionPool

from slaq.clock import monotonic

_log = logging.getLogger("slaq.jobs")

QUEUE = "sla"
EVENTS_QUEUE = "sla-events"
PATIENCE = 5.0
"""Seconds that a call waits for a connection, and a pool tries to make one; then the loop that asked starts again, and the pool with it."""
UNKNOWN_ATTEMPTS = 25
_INSISTENCE = 10.0
"""Seconds; when no heartbeat got through either, the engine ends and its jobs are given back to the queue."""


class _Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """Gives up opening as soon as it gives up anything else; the engine leaves it half a minute."""

    async def open(self, wait: bool = False, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - the pool's signature
        await super().open(wait, timeout)


def make_app(conninfo: str, schema: str, connections: int) -> App:
    """An unopened Procrastinate app over ``conninfo``; its tables are found in ``schema``."""

    async def configure(conn: AsyncConnection[Any]) -> None:
        # Not in the pool's kwargs: `options` would replace the login's own, and `autocommit` breaks LISTEN.
        await conn.set_autocommit(True)
        await conn.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))

    connector = PsycopgConnector(
        pool_factory=_Pool,
        conninfo=conninfo,
        kwargs={"application_name": "slaq worker: queue"},
        min_size=1,
        max_size=connections,
        timeout=PATIENCE,
        reconnect_timeout=PATIENCE,
        configure=configure,
    )
    app = App(connector=connector)
    app.job_manager = Settling(connector, app.tasks)
    return app


class Settling(JobManager):
    """Says of every job how it ended, whatever happens to the connection meanwhile.

    The engine says it once and drops a job whose connection breaks at that moment: it would be in work for ever,
    with a worker that lives. A task that this release does not know (a newer one enqueued it) is put off, not failed.
    """

    def __init__(self, connector: PsycopgConnector, known: Container[str]) -> None:
        super().__init__(connector)
        self._known = known

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        if status is Status.FAILED and job.task_name not in self._known and job.attempts + 1 < UNKNOWN_ATTEMPTS:
            _log.warning(
                "task %s is unknown here, job %s is put off: is this worker older than its jobs?", job.task_name, job.id
            )
            retry_at = RetryDecision(retry_in=_in(backoff(job.attempts))).retry_at
            await self.retry_job(job, retry_at=retry_at)
        else:
            await _insist(job, lambda: JobManager.finish_job(self, job, status, delete_job))

    async def retry_job(self, job: Job, *args: Any, **options: Any) -> None:
        await _insist(job, lambda: JobManager.retry_job(self, job, *args, **options))


async def _insist(job: Job, settle: Callable[[], Awaitable[None]]) -> None:
    until, wait = monotonic() + _INSISTENCE, 0.1
    while True:
        try:
            return await settle()
        except ConnectorException as error:
            if isinstance(error.__cause__, errors.RaiseException):
                _log.warning("job %s was settled by somebody else: %s", job.id, error.__cause__)
                return None
            if monotonic() > until:
                raise
            _log.warning("how job %s ended could not be noted, trying again: %s", job.id, error.__cause__ or error)
        await asyncio.sleep(wait)
        wait = min(2 * wait, 2.0)


def backoff(attempt: int, *, first: float = 2.0, most: float = 600.0) -> timedelta:
    """How long to wait after the ``attempt``-th failure (from 0): doubling, capped; wall-clock."""
    return timedelta(seconds=min(first * 2 ** min(attempt, 30), most))


class KeepTrying(BaseRetryStrategy):
    """Retries with backoff; a job that a shutdown interrupted goes back to the queue at once."""

    def __init__(self, attempts: int, wait: Callable[[int], timedelta] = backoff) -> None:
        self._attempts = attempts
        self._wait = wait

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, (asyncio.CancelledError, JobAborted)):
            return RetryDecision(retry_in=_in(timedelta()))
        if job.attempts + 1 >= self._attempts:
            return None
        return RetryDecision(retry_in=_in(self._wait(job.attempts)))


def _in(wait: timedelta) -> Any:
    return {"seconds": int(wait.total_seconds())}
