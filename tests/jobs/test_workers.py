"""Handlers: results, failures, limits, stops, and workers that die."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import pytest
from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection

from slaq.errors import ConfigurationError
from slaq.jobs import DeadLetter, InvalidJob, JobQueue, JobState, RetryAfter, SyncJobQueue
from slaq.jobs.runner import QueueWorker
from slaq.jobs.testing import drain

from .conftest import working


async def test_async_and_sync_handlers_keep_their_output(queue, conn, dsn, spy):
    await queue.create_queue(conn, "sync")

    @queue.work("q")
    async def one(job):
        return {"twice": job.data * 2}

    @queue.work("sync")
    def other(job):
        return threading.current_thread().name

    first, second = await queue.send(conn, "q", 21), await queue.send(conn, "sync")
    await drain(queue, dsn)
    assert (await spy.wait_for("q", first)).output == {"twice": 42}
    assert (await spy.wait_for("sync", second)).output.startswith("slaq-job")


async def test_a_failing_job_is_retried_then_failed_then_a_dead_letter(queue, conn, dsn, spy):
    attempts = []

    @queue.work("q")
    async def handler(job):
        attempts.append(job.attempt)
        raise ValueError("no luck")

    job = await queue.send(conn, "q", {"a": 1}, key="k", retry_limit=1, retry_delay=0.5)
    started = time.monotonic()
    async with working(queue, dsn):
        failed = await spy.wait_for("q", job, "failed")
    assert attempts == [0, 1]
    assert time.monotonic() - started > 0.5
    assert failed.retry_count == 1
    assert failed.output["name"] == "ValueError"
    assert failed.output["message"] == "no luck"
    (letter,) = await queue.find_jobs(conn, "dlq")
    assert (letter.data, letter.key) == ({"a": 1}, "k")
    assert letter.metadata["source"] | {"created_at": 0} == {
        "queue": "q", "id": job, "retry_count": 1, "output": failed.output, "created_at": 0, "root_id": job,
    }  # fmt: skip


async def test_dead_letter_skips_the_retries_that_remain(queue, conn, dsn, spy):
    @queue.work("q")
    async def handler(job):
        raise DeadLetter("never")

    job = await queue.send(conn, "q", retry_limit=9)
    await drain(queue, dsn)
    assert (await spy.wait_for("q", job)).state == JobState.FAILED
    assert len(await queue.find_jobs(conn, "dlq")) == 1


async def test_retry_after_chooses_the_wait(queue, conn, dsn):
    @queue.work("q")
    async def handler(job):
        raise RetryAfter(300)

    job = await queue.send(conn, "q", retry_limit=9)
    await drain(queue, dsn)
    found = await queue.get_job(conn, "q", job)
    (now,) = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    assert found.state == JobState.RETRY
    assert 290 < (found.start_after - now).total_seconds() < 301


async def test_backoff_is_jittered_doubling_and_capped(queue, conn):
    job = await queue.send(conn, "q", retry_limit=9, retry_backoff=True, retry_delay=1, retry_delay_max=3)
    waits = []
    for _ in range(4):
        (fetched,) = await queue.fetch(conn, "q", ignore_start_after=True)
        await queue.fail(conn, "q", fetched)
        (now,) = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
        waits.append(((await queue.get_job(conn, "q", job)).start_after - now).total_seconds())
    assert 0.9 < waits[0] <= 2
    assert 1.9 < waits[1] <= 3
    assert all(2.9 < wait <= 3 for wait in waits[2:])


async def test_an_expired_async_handler_is_cancelled(queue, conn, dsn, spy):
    cancelled = []

    @queue.work("q")
    async def handler(job):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.append(job.attempt)
            raise

    job = await queue.send(conn, "q", expire_in=1, retry_limit=1)
    async with working(queue, dsn):
        failed = await spy.wait_for("q", job, "failed")
    assert cancelled == [0, 1]
    assert failed.output == {"message": "job timed out"}


async def test_a_handlers_own_timeout_error_is_its_own(queue, conn, dsn, spy):
    @queue.work("q")
    async def handler(job):
        raise TimeoutError("the mail server")

    job = await queue.send(conn, "q", retry_limit=0)
    await drain(queue, dsn)
    assert (await spy.wait_for("q", job)).output["message"] == "the mail server"


async def test_a_claimed_job_whose_process_vanished_is_recovered_by_supervise(queue, conn, superuser_dsn):
    job = await queue.send(conn, "q", expire_in=1, retry_limit=0)
    assert await queue.fetch(conn, "q")
    assert (await queue.supervise(conn)).expired == 0
    await asyncio.sleep(1.1)
    assert (await queue.supervise(conn)).expired == 1
    found = await queue.get_job(conn, "q", job)
    assert (found.state, found.output) == (JobState.FAILED, {"message": "job timed out"})


async def test_heartbeat_of_jobs_fetched_by_hand(queue, conn):
    job = await queue.send(conn, "q", heartbeat=1, retry_limit=0)
    (fetched,) = await queue.fetch(conn, "q")
    await asyncio.sleep(0.7)
    assert (await queue.touch(conn, "q", fetched)).affected == 1
    await asyncio.sleep(0.5)
    assert (await queue.supervise(conn)).stalled == 0
    await asyncio.sleep(0.7)
    assert (await queue.supervise(conn)).stalled == 1
    assert (await queue.get_job(conn, "q", job)).output == {"message": "job heartbeat timeout"}
    assert (await queue.touch(conn, "q", fetched)).affected == 0


async def test_stop_retries_what_does_not_end_in_time(queue, conn, dsn, spy):
    runs = []

    @queue.work("q")
    async def handler(job):
        runs.append(job.attempt)
        await asyncio.sleep(0 if job.attempt else 20)

    job = await queue.send(conn, "q", retry_limit=1)
    async with working(queue, dsn, grace=0.3):
        await spy.wait_for("q", job, "active")
        await asyncio.sleep(0.1)
    found = await queue.get_job(conn, "q", job)
    assert (found.state, found.output) == (JobState.RETRY, {"message": "worker shut down while active"})
    await drain(queue, dsn)
    assert (await queue.get_job(conn, "q", job)).state == JobState.COMPLETED
    assert runs == [0, 1]


async def test_stop_lets_a_handler_end_within_the_grace_period(queue, conn, dsn, spy):
    @queue.work("q")
    async def handler(job):
        await asyncio.sleep(0.6)

    job = await queue.send(conn, "q")
    async with working(queue, dsn, grace=5):
        await spy.wait_for("q", job, "active")
    assert (await queue.get_job(conn, "q", job)).state == JobState.COMPLETED


async def test_unstarted_jobs_are_given_back_and_cost_no_retry(queue, conn, dsn, spy):
    gate = asyncio.Event()
    seen = 0

    @queue.work("q")
    async def handler(job):
        nonlocal seen
        seen += 1
        if job.data == "wait":
            await gate.wait()

    await queue.insert(conn, "q", [{} for _ in range(300)])  # quick ones, so that the worker fetches ahead
    async with working(queue, dsn, concurrency=2, grace=0.2) as stop:
        while seen < 300:
            await asyncio.sleep(0.01)
        await queue.insert(conn, "q", [{"data": "wait"} for _ in range(20)])
        while seen < 302:
            await asyncio.sleep(0.01)
        stop.set()
    jobs = await queue.find_jobs(conn, "q", states=["created", "retry", "active"])
    assert len(jobs) == 20
    assert [job.state for job in jobs].count("retry") == 2
    assert all(job.state == "created" for job in jobs if job.attempts == 0)


async def test_jobs_of_a_dead_worker_are_retried_then_failed(queue, conn, superuser_dsn):
    job = await queue.send(conn, "q", retry_limit=1)
    async with await AsyncConnection.connect(superuser_dsn, autocommit=True) as admin:
        for expected in (JobState.RETRY, JobState.FAILED):
            cursor = await admin.execute(
                "INSERT INTO slaq.procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 minute') RETURNING id"
            )
            (worker,) = await cursor.fetchone()
            await admin.execute("SELECT * FROM slaq.fetch_jobs('q', 1, %s)", [worker])
            assert (await queue.supervise(conn)).stalled == 1
            found = await queue.get_job(conn, "q", job)
            assert (found.state, found.output) == (expected, {"message": "job heartbeat timeout"})
    assert len(await queue.find_jobs(conn, "dlq")) == 1


async def test_a_zombie_changes_nothing(queue, conn):
    await queue.send(conn, "q", expire_in=1)
    (zombie,) = await queue.fetch(conn, "q")
    await asyncio.sleep(1.1)
    await queue.supervise(conn)
    (successor,) = await queue.fetch(conn, "q")
    assert successor.attempt == zombie.attempt + 1
    for verb in (queue.complete, queue.fail, queue.touch):
        assert (await verb(conn, "q", zombie)).affected == 0
    assert (await queue.get_job(conn, "q", zombie.id)).state == JobState.ACTIVE
    assert (await queue.complete(conn, "q", successor)).affected == 1


async def test_cancelling_interrupts_a_running_async_handler(queue, conn, dsn, spy):
    interrupted = asyncio.Event()

    @queue.work("q")
    async def handler(job):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            interrupted.set()
            raise

    job = await queue.send(conn, "q")
    async with working(queue, dsn):
        await spy.wait_for("q", job, "active")
        await asyncio.sleep(0.2)
        assert (await queue.cancel(conn, "q", job)).affected == 1
        await asyncio.wait_for(interrupted.wait(), 3)
    assert (await queue.get_job(conn, "q", job)).state == JobState.CANCELLED


async def test_batches_settle_each_job_by_its_own_result(queue, conn, dsn):
    sizes = []

    @queue.work("q", batch_size=10)
    async def handler(jobs):
        sizes.append(len(jobs))
        return {job.id: DeadLetter("odd") if job.data % 2 else {"n": job.data} for job in jobs}

    ids = await queue.insert(conn, "q", [{"data": n} for n in range(25)])
    await drain(queue, dsn)
    assert sorted(sizes) == [5, 10, 10]
    for n, job in enumerate(await queue.find_jobs(conn, "q", ids=ids)):
        assert job.state == (JobState.FAILED if n % 2 else JobState.COMPLETED)
        assert job.output.get("n", n) == n


async def test_a_batch_that_raises_fails_all_of_it(queue, conn, dsn):
    @queue.work("q", batch_size=10)
    def handler(jobs):
        raise ValueError("all")

    await queue.insert(conn, "q", [{"retry_limit": 0}] * 3)
    await drain(queue, dsn)
    assert {job.state for job in await queue.find_jobs(conn, "q")} == {JobState.FAILED}


async def test_a_missing_handler_delays_its_jobs(queue, conn, dsn):
    @queue.work("dlq")
    async def handler(job): ...

    job = await queue.send(conn, "q")
    await drain(queue, dsn)
    assert (await queue.get_job(conn, "q", job)).state == JobState.CREATED


async def test_a_handler_whose_queue_is_missing_waits_for_it(queue, conn, dsn, caplog):
    @queue.work("later")
    async def handler(job): ...

    await drain(queue, dsn)
    assert "queue later has a handler but does not exist yet" in caplog.text


async def test_the_worker_outlives_lost_connections(queue, conn, dsn, superuser_dsn, spy):
    @queue.work("q")
    async def handler(job): ...

    async with working(queue, dsn):
        await spy.wait_for("q", await queue.send(conn, "q"))
        async with await AsyncConnection.connect(superuser_dsn, autocommit=True) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> ALL (%s)",
                [[admin.info.backend_pid, conn.info.backend_pid, spy.conn.info.backend_pid]],
            )
        await spy.wait_for("q", await queue.send(conn, "q"), timeout=15)


async def test_several_workers_share_the_jobs_and_none_runs_twice(queue, conn, dsn):
    seen = []

    @queue.work("q")
    async def handler(job):
        seen.append(job.id)

    await queue.insert(conn, "q", [{} for _ in range(500)])
    await asyncio.gather(*(drain(queue, dsn) for _ in range(3)))
    assert len(seen) == len(set(seen)) == 500


async def test_singleton_never_runs_two_of_a_key(conn, queue, dsn):
    await queue.create_queue(conn, "one", policy="singleton")
    active, most = {}, 0

    @queue.work("one")
    async def handler(job):
        nonlocal most
        active[job.key] = active.get(job.key, 0) + 1
        most = max(most, active[job.key])
        await asyncio.sleep(0.002)
        active[job.key] -= 1

    await queue.insert(conn, "one", [{"key": f"k{n % 3}"} for n in range(60)])
    async with working(queue, dsn, concurrency=5), working(queue, dsn, concurrency=5):
        while (await queue.get_queue_stats(conn, "one"))[0].completed < 60:
            await asyncio.sleep(0.05)
    assert most == 1


async def test_wrong_registrations_are_refused(dsn):
    queue = JobQueue()
    with pytest.raises(ConfigurationError, match="no queue has a handler"):
        await QueueWorker(queue, dsn).run(asyncio.Event())
    queue.work("q")(lambda job: None)
    with pytest.raises(InvalidJob, match="'q' has a handler already"):
        queue.work("q")
    with pytest.raises(ConfigurationError, match="'nope' has no handler"):
        await QueueWorker(queue, dsn, queues=["nope"]).run(asyncio.Event())


async def test_plain_procrastinate_goes_on_beside_the_queues(queue, conn, dsn):
    app = App(connector=PsycopgConnector(conninfo=dsn, kwargs={"options": "-c search_path=slaq"}))
    done = []

    @app.task(name="plain", queue="plain", queueing_lock="once", lock="l")
    async def plain(n):
        done.append(n)

    @queue.work("q")
    async def handler(job):
        done.append("ours")

    async with app.open_async():
        await plain.defer_async(n=1)
        await plain.configure(queueing_lock="other").defer_async(n=2)
        job = await queue.send(conn, "q")
        await drain(queue, dsn)
        other = await queue.send(conn, "q")
        await app.run_worker_async(wait=False)  # of any queue: it leaves alone what is not its own
    assert done == ["ours", 1, 2]
    assert (await queue.get_job(conn, "q", job)).state == JobState.COMPLETED
    assert (await queue.get_job(conn, "q", other)).state == JobState.CREATED
    cursor = await conn.execute(
        "SELECT array_agg(type::text ORDER BY id) FROM slaq.procrastinate_events WHERE job_id = 1"
    )
    assert await cursor.fetchone() == (["deferred", "started", "succeeded"],)


def test_business_row_and_job_commit_or_roll_back_together(dsn):
    queue = SyncJobQueue()
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TEMPORARY TABLE orders (id integer)")
        queue.create_queue(conn, "q", policy="exclusive")
        conn.commit()
        conn.execute("INSERT INTO orders VALUES (1)")
        queue.send(conn, "q")
        conn.rollback()
        assert queue.find_jobs(conn, "q") == []
        queue.send(conn, "q")
        conn.execute("INSERT INTO orders VALUES (2)")
        assert queue.send(conn, "q") is None
        conn.commit()
        assert conn.execute("SELECT array_agg(id) FROM orders").fetchone() == ([2],)


async def test_the_same_for_async_code_with_any_search_path(queue, conn, dsn):
    async with await AsyncConnection.connect(dsn, options="-c search_path=pg_catalog") as other:
        await queue.send(other, "q")
        await other.rollback()
        assert await queue.find_jobs(conn, "q") == []
        await queue.send(other, "q")
        await other.commit()
        assert len(await queue.find_jobs(conn, "q")) == 1


async def test_a_handler_s_own_concurrency_holds_and_wakes_the_next_at_once(queue, conn, dsn):
    active, most, done = 0, 0, 0
    await queue.create_queue(conn, "few")

    @queue.work("few", concurrency=2)
    async def handler(job):
        nonlocal active, most, done
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.01)
        active -= 1
        done += 1

    await queue.insert(conn, "few", [{} for _ in range(20)])
    async with working(queue, dsn, polling_interval=60):
        while done < 20:
            await asyncio.sleep(0.01)
    assert most == 2


async def test_who_waits_for_a_key_or_a_group_is_woken_when_it_is_free(queue, conn, dsn):
    """In whatever worker the job ran that held it."""
    await queue.create_queue(conn, "keyed", policy="singleton")
    done = []

    @queue.work("keyed")
    async def keyed(job):
        done.append(job.data)

    @queue.work("q", group_concurrency=1)
    async def grouped(job):
        done.append(job.data)

    for name, options in (("keyed", {}), ("q", {"group": "g"})):
        await queue.send(conn, name, "first", **options)
        (held,) = await queue.fetch(conn, name)
        await queue.send(conn, name, f"next in {name}", **options)
        async with working(queue, dsn, polling_interval=60):
            await asyncio.sleep(0.3)
            assert f"next in {name}" not in done
            await queue.complete(conn, name, held)
            while f"next in {name}" not in done:
                await asyncio.sleep(0.01)


async def test_draining_takes_one_after_the_other_of_a_key(queue, conn, dsn):
    await queue.create_queue(conn, "fifo", policy="key_strict_fifo")
    done = []

    @queue.work("fifo")
    async def handler(job):
        await asyncio.sleep(0.01)
        done.append(job.data)

    await queue.insert(conn, "fifo", [{"data": n, "key": "k"} for n in range(5)])
    await drain(queue, dsn)
    assert done == [0, 1, 2, 3, 4]


async def test_a_sync_handler_sees_that_its_time_is_up(queue, conn, dsn, spy):
    seen = threading.Event()

    @queue.work("q")
    def handler(job):
        if job.aborted.wait(20):
            seen.set()

    job = await queue.send(conn, "q", expire_in=1, retry_limit=0)
    await drain(queue, dsn)
    assert (await spy.wait_for("q", job)).output == {"message": "job timed out"}
    assert await asyncio.to_thread(seen.wait, 5)


async def test_cancelling_one_job_of_a_batch_interrupts_no_other(queue, conn, dsn, spy):
    gate = asyncio.Event()

    @queue.work("q", batch_size=2)
    async def handler(jobs):
        await gate.wait()

    first, second = await queue.insert(conn, "q", [{}, {}])
    async with working(queue, dsn):
        await spy.wait_for("q", second, "active")
        await queue.cancel(conn, "q", first)
        await asyncio.sleep(0.3)
        gate.set()
        assert (await spy.wait_for("q", second)).state == JobState.COMPLETED
    assert (await queue.get_job(conn, "q", first)).state == JobState.CANCELLED


async def test_a_job_sent_while_the_worker_looks_elsewhere_is_not_overlooked(queue, conn, dsn, monkeypatch):
    """The engine forgets a notification that comes while it fetches."""
    from slaq.jobs.manager import SlaqJobManager

    done, is_first, look = [], True, SlaqJobManager._refill
    queue.work("q")(lambda job: done.append(job.id))

    async def slow_look(self, queues, worker_id):
        nonlocal is_first
        await look(self, queues, worker_id)
        if is_first:
            is_first = False
            async with await AsyncConnection.connect(dsn, autocommit=True) as other:
                await queue.send(other, "q")
            await asyncio.sleep(0.5)  # it is heard of meanwhile

    async with working(queue, dsn, polling_interval=60):
        await asyncio.sleep(0.5)
        monkeypatch.setattr(SlaqJobManager, "_refill", slow_look)
        await queue.send(conn, "dlq")  # nobody's, but it wakes nobody either
        await queue.send(conn, "q")
        while len(done) < 2:
            await asyncio.sleep(0.01)
