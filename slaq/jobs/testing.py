"""For the application's own tests, on a real database: run what is due, wait for a job, see what became of it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
from psycopg import AsyncConnection

from slaq.clock import monotonic
from slaq.jobs import managing
from slaq.jobs.calls import run_call_async
from slaq.jobs.handlers import Handlers
from slaq.jobs.model import JobInfo, JobState
from slaq.jobs.runner import QueueWorker
from slaq.jobs.upkeep import tick
from slaq.store.queries import DEFAULT_SCHEMA

FINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


async def drain(app: Handlers, conninfo: str, *, queues: list[str] | None = None, schema: str = DEFAULT_SCHEMA) -> None:
    """Run the handlers of ``app`` until no job is ready; deferred ones stay."""
    worker = QueueWorker(app, conninfo, schema, queues, concurrency=4, grace=5)
    await worker.run(asyncio.Event(), once=True)


async def run_due(
    app: Handlers, conninfo: str, conn: AsyncConnection[Any], *, schema: str = DEFAULT_SCHEMA
) -> list[int]:
    """Send what the schedules of its queues have due now, then drain; ids of the jobs that schedules sent. ``conn`` is autocommit."""
    sent = await tick(conn, schema, app, app.handlers)
    await drain(app, conninfo, schema=schema)
    return sent


class NeverHappened(AssertionError):
    """A job did not reach the state in time; the message says where it stands."""


@attrs.frozen
class JobSpy:
    """Waits for jobs over a connection of its own (autocommit)."""

    conn: AsyncConnection[Any]
    schema: str = DEFAULT_SCHEMA

    async def wait_for(
        self,
        queue: str,
        job: int,
        state: JobState | str | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - it polls
    ) -> JobInfo:
        """The job once it is in ``state`` (default: any that is final), at once if it is already.

        Raises ``NeverHappened`` after ``timeout`` seconds. A job that will be retried is not failed.
        """
        wanted = FINAL if state is None else {JobState(state)}
        until = monotonic() + timeout
        while True:
            call = managing.find(queue, 1, {"ids": [job]})
            found = await run_call_async(self.conn, call, self.schema)
            if found and found[0].state in wanted:
                return found[0]
            if monotonic() > until:
                raise NeverHappened(
                    f"job {job} of queue {queue} is {found[0] if found else 'gone'}, not {', '.join(wanted)}"
                )
            await asyncio.sleep(0.02)
