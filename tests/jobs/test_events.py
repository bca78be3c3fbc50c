"""Listeners hear how jobs end, once Postgres knows, and what a worker complains of."""

from __future__ import annotations

import pytest

from slaq.jobs import DeadLetter, InvalidJob, RetryAfter
from slaq.jobs.events import EventName
from slaq.jobs.testing import drain
from slaq.jobs.upkeep import look_after

from .conftest import working


async def test_each_end_of_a_run_is_told(queue, conn, dsn):
    heard = []

    @queue.work("q")
    async def handler(job):
        if job.data == "good":
            return 1
        raise RetryAfter(60) if job.data == "later" else DeadLetter("never")

    @queue.on("completed")
    def completed(event):
        heard.append((event.name, event.job.data, event.output))

    @queue.on(EventName.RETRIED)
    async def retried(event):
        heard.append((event.name, event.job.data, event.output["name"]))

    for name in ("failed", "dead_lettered"):
        queue.on(name, lambda event: heard.append((event.name, event.job.data, event.output["message"])))
    await queue.insert(conn, "q", [{"data": data} for data in ("good", "later", "bad")])
    await queue.send(conn, "q", "without letters", retry_limit=0)
    await queue.update_queue(conn, "q", dead_letter=None)
    await queue.send(conn, "q", "bad too")
    await drain(queue, dsn)
    assert sorted(heard) == [
        ("completed", "good", 1),
        ("dead_lettered", "bad", "never"), ("dead_lettered", "without letters", "never"),
        ("failed", "bad", "never"), ("failed", "bad too", "never"), ("failed", "without letters", "never"),
        ("retried", "later", "RetryAfter"),
    ]  # fmt: skip


async def test_a_late_word_is_not_told(queue, conn, dsn):
    """What a cancelled job's handler did in the end changed nothing, so nobody hears of it."""
    heard = []

    @queue.work("q")
    async def handler(job):
        await queue.cancel(conn, "q", job.id)

    for name in EventName:
        queue.on(name, lambda event: heard.append(event.name))
    await queue.send(conn, "q")
    await drain(queue, dsn)
    assert heard == []


async def test_a_listener_that_raises_harms_nobody(queue, conn, dsn, caplog):
    heard = []
    queue.work("q")(lambda job: None)

    @queue.on("completed")
    def broken(event):
        raise ValueError("not my day")

    queue.on("completed", lambda event: heard.append(event.job.id))
    job = await queue.send(conn, "q")
    await drain(queue, dsn)
    assert heard == [job]
    assert "a listener to completed failed" in caplog.text


async def test_warnings_of_lost_jobs_long_queues_and_unreadable_schedules(queue, conn, dsn, superuser_dsn):
    import asyncio

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    stop, heard = asyncio.Event(), []

    @queue.on("warning")
    def warned(event):
        heard.append(event.message)
        if len(heard) == 3:
            stop.set()

    await queue.update_queue(conn, "q", warning_size=1)
    await queue.insert(conn, "q", [{}, {}])
    await queue.send(conn, "dlq", expire_in=1)
    await queue.schedule(conn, "q", "* * * * *", key="odd")
    async with await AsyncConnection.connect(superuser_dsn, autocommit=True) as admin:
        await admin.execute("UPDATE slaq.queue_schedules SET cron = 'never' WHERE key = 'odd'")
        await admin.execute(
            "INSERT INTO slaq.procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (99, now() - interval '1 h')"
        )
        await admin.execute("SELECT FROM slaq.fetch_jobs('dlq', 1, 99)")
    async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, open=False) as pool:
        await look_after(pool, "slaq", queue, 0, stop)
    assert heard[0].startswith("schedule 'odd' of queue q cannot be evaluated")
    assert heard[1:] == ["jobs that nobody settled: 1 stalled, 0 expired", "queue q has 2 ready jobs, more than 1"]


async def test_a_worker_tells_that_it_failed_and_that_it_stopped(queue, dsn, server, database):
    heard = []
    queue.work("q")(lambda job: None)
    queue.on("error", lambda event: heard.append("error"))
    queue.on("stopped", lambda event: heard.append("stopped"))
    async with working(queue, dsn.replace("user=slaq_app", "user=nobody")):
        while not heard:
            import asyncio

            await asyncio.sleep(0.05)
    assert heard[0] == "error"
    assert heard[-1] == "stopped"


def test_wrong_listeners_are_refused(queue):
    with pytest.raises(InvalidJob, match="event 'done' is none of completed, retried"):
        queue.on("done")
    with pytest.raises(InvalidJob, match="cannot be called"):
        queue.on("failed", 7)
