"""What an application tests its jobs with."""

from __future__ import annotations

import asyncio

import pytest

from slaq.jobs.testing import NeverHappened, drain

from .conftest import working


async def test_a_job_that_fails_and_then_succeeds_is_never_reported_failed(queue, conn, dsn, spy):
    @queue.work("q")
    async def handler(job):
        if job.attempt == 0:
            raise ValueError("the first time")

    job = await queue.send(conn, "q", retry_delay=0.3)
    waiting = asyncio.create_task(spy.wait_for("q", job, "failed", timeout=1.5))
    async with working(queue, dsn):
        assert (await spy.wait_for("q", job)).state == "completed"
    with pytest.raises(NeverHappened, match=f"job {job} of queue q is .*completed.*, not failed"):
        await waiting


async def test_waiting_for_what_has_happened_returns_at_once(queue, conn, dsn, spy):
    queue.work("q")(lambda job: {"n": 7})
    job = await queue.send(conn, "q")
    await drain(queue, dsn)
    assert (await spy.wait_for("q", job, "completed", timeout=0)).output == {"n": 7}


async def test_a_job_that_is_gone_is_said_to_be(queue, conn, spy):
    job = await queue.send(conn, "q")
    await queue.delete_job(conn, "q", job)
    with pytest.raises(NeverHappened, match="is gone"):
        await spy.wait_for("q", job, timeout=0.1)


async def test_draining_leaves_what_is_deferred_and_other_queues(queue, conn, dsn):
    done = []
    queue.work("q")(lambda job: done.append(job.data))
    queue.work("dlq")(lambda job: done.append(job.data))
    for data, options in (("now", {}), ("later", {"start_after": 3600})):
        await queue.send(conn, "q", data, **options)
    await queue.send(conn, "dlq", "elsewhere")
    await drain(queue, dsn, queues=["q"])
    assert done == ["now"]
