"""Workers killed at random and backends terminated: every job ends once, runs at least once, none is stuck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from slaq.jobs import SyncJobQueue

WORKER = Path(__file__).parent / "kill_worker.py"


def start(dsn: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, WORKER], env={**os.environ, "KILL_DSN": dsn}, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("jobs", "kills"), [(200, 5), pytest.param(1000, 60, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
def test_every_job_ends_exactly_once(dsn: str, superuser_dsn: str, jobs: int, kills: int) -> None:
    queue, chance = SyncJobQueue(), random.Random(7)
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE kill_runs (job bigint, attempt integer)")
        admin.execute("GRANT ALL ON kill_runs TO PUBLIC")
        queue.create_queue(admin, "dead")
        queue.create_queue(admin, "k", dead_letter="dead", retry_limit=1000)
        queue.insert(admin, "k", [{"data": {"n": n}, "retry_limit": 3 if n % 10 == 0 else 1000} for n in range(jobs)])
        workers = [start(dsn) for _ in range(2)]
        try:
            settled, until = 0, time.monotonic() + 90 + kills * 5
            while settled < jobs:
                assert time.monotonic() < until, queue.get_queue_stats(admin, "k")
                time.sleep(chance.uniform(0.3, 1.2))
                if kills:
                    kills -= 1
                    victim = chance.randrange(2)
                    workers[victim].send_signal(signal.SIGKILL)
                    workers[victim].wait()
                    workers[victim] = start(dsn)
                    if kills % 4 == 0:
                        admin.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                queue.supervise(admin, stale=timedelta(seconds=6))
                (stats,) = queue.get_queue_stats(admin, "k")
                settled = stats.completed + stats.failed
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        assert (stats.active, stats.queued, stats.total) == (0, 0, jobs)
        runs = dict(admin.execute("SELECT job, count(*) FROM kill_runs GROUP BY job").fetchall())
        found = queue.find_jobs(admin, "k", limit=jobs)
        assert all(runs.get(job.id, 0) >= 1 for job in found if job.state == "completed")
        assert {job.state for job in found if job.data["n"] % 10} == {"completed"}
        ended = admin.execute(
            "SELECT job_id FROM slaq.procrastinate_events WHERE type IN ('succeeded', 'failed') GROUP BY job_id HAVING count(*) > 1"
        ).fetchall()
        assert ended == []
        letters = sorted(job.metadata["source"]["id"] for job in queue.find_jobs(admin, "dead", limit=jobs))
        assert letters == sorted(job.id for job in found if job.state == "failed")
