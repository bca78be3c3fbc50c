"""Quick jobs are fetched ahead, at most as many as run at a time; one that never began costs nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from slaq.jobs import SyncJobQueue

from .conftest import working

PROGRAM = """
import asyncio, os, sys
import slaq.jobs.manager as manager
from slaq.jobs import JobQueue
from slaq.jobs.runner import QueueWorker

queue = JobQueue()

@queue.work("q")
async def handler(job):
    print(job.id, flush=True)
    if job.data == "deadly":
        os.kill(os.getpid(), 9)
    if job.data == "slow":
        await asyncio.sleep(60)

manager._QUICK = 60  # whatever they take
asyncio.run(QueueWorker(queue, sys.argv[1], concurrency=3, polling_interval=0.1).run(asyncio.Event()))
"""


def run(dsn: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, dsn], env=environment, stdout=subprocess.PIPE, text=True)


def stalled(conn) -> None:
    conn.execute("UPDATE slaq.procrastinate_workers SET last_heartbeat = '2020-01-01Z' WHERE id > 0")


def ahead(conn) -> list[int]:
    return [job for (ids,) in conn.execute("SELECT ids FROM slaq.jobs_ahead").fetchall() for job in ids]


@pytest.fixture
def sync(superuser_dsn):
    queue = SyncJobQueue()
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        queue.create_queue(conn, "q")
        yield queue, conn


def test_jobs_that_a_killed_worker_had_not_begun_wait_again_and_cost_no_retry(sync, dsn) -> None:
    queue, conn = sync
    slow = queue.insert(conn, "q", [{"data": "slow", "priority": 9} for _ in range(2)])
    queue.insert(conn, "q", [{"priority": 5} for _ in range(16)])  # one with the slow ones, then three at a time
    ids = queue.insert(conn, "q", [{"data": "slow"} for _ in range(5)])
    worker = run(dsn)
    begun = {int(worker.stdout.readline()) for _ in range(19)} - set(slow)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert begun & set(ids) == {ids[0]}
    assert ahead(conn) == ids[1:3]
    assert [job.id for job in queue.find_jobs(conn, "q", states=["active"])] == [*slow, *ids[:3]]
    stalled(conn)
    assert queue.supervise(conn).stalled == 3
    for job in queue.find_jobs(conn, "q", ids=ids):
        assert (job.state, job.attempts) == (("retry", 1) if job.id in begun else ("created", 0))
    assert ahead(conn) == []


def test_a_job_that_kills_its_worker_always_counts_as_begun(sync, dsn) -> None:
    """However early it dies: what is about to begin has left the list of those ahead."""
    queue, conn = sync
    ids = queue.insert(conn, "q", [{"data": "deadly" if n == 5 else None, "retry_limit": 1} for n in range(8)])
    for _ in range(2):
        worker = run(dsn)
        assert worker.wait(20) == -signal.SIGKILL
        worker.stdout.close()
        stalled(conn)
        queue.supervise(conn, timedelta(seconds=20))
    assert queue.get_job(conn, "q", ids[5]).state == "failed"


def test_procrastinate_forgetting_the_dead_worker_changes_nothing(sync, superuser_dsn) -> None:
    queue, conn = sync
    ids = queue.insert(conn, "q", [{} for _ in range(3)])
    conn.execute(
        "INSERT INTO slaq.procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (7, now())"
    )
    conn.execute("SELECT FROM slaq.fetch_jobs('q', 1, 7, p_ahead => 2)")
    assert ahead(conn) == ids[1:]
    conn.execute("DELETE FROM slaq.procrastinate_workers WHERE id = 7")
    queue.supervise(conn)
    assert [job.attempts for job in queue.find_jobs(conn, "q")] == [1, 0, 0]


@pytest.mark.parametrize("policy", ["singleton", "stately", "key_strict_fifo"])
def test_jobs_that_hold_a_key_are_never_fetched_ahead(sync, policy) -> None:
    queue, conn = sync
    queue.create_queue(conn, "keyed", policy=policy)
    queue.insert(conn, "keyed", [{"key": f"k{n}"} for n in range(5)])
    fetched = conn.execute("SELECT id FROM slaq.fetch_jobs('keyed', 2, 0, p_ahead => 3)").fetchall()
    assert len(fetched) == 2
    assert ahead(conn) == []


async def test_a_worker_in_trouble_gives_back_what_it_does_not_begin(queue, conn, dsn, monkeypatch) -> None:
    """Jobs that turn slow must not keep others waiting behind them in this worker."""
    monkeypatch.setattr("slaq.jobs.runner.HEARTBEAT", 0.2)
    monkeypatch.setattr("slaq.jobs.manager._LONGEST_AHEAD", 0.1)
    monkeypatch.setattr("slaq.jobs.manager._QUICK", 60)
    gate, begun = asyncio.Event(), []

    @queue.work("q")
    async def handler(job):
        begun.append(job.id)
        if job.data == "wait":
            await gate.wait()

    await queue.insert(conn, "q", [{"data": "wait"}, {}, *({"data": "wait"} for _ in range(8))])
    async with working(queue, dsn, concurrency=2):  # the second slot fetches two, of which one is begun
        while len(begun) < 3:
            await asyncio.sleep(0.01)
        while len(await queue.find_jobs(conn, "q", states=["active"])) > 2:
            await asyncio.sleep(0.01)
        gate.set()
        while len(begun) < 10:
            await asyncio.sleep(0.01)
    assert {job.attempts for job in await queue.find_jobs(conn, "q")} == {1}
