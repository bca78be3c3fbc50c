"""Workers killed at random, Postgres killed and started again: every job ends once, runs at least once, none is stuck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from slaq.jobs import SyncJobQueue
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.store.migrate import grant, migrate

WORKER = Path(__file__).parent / "kill_worker.py"
T = TypeVar("T")


@pytest.fixture
def own() -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill; a crash takes back no commit."""
    with temporary(settings={"synchronous_commit": "on"}) as running:
        with psycopg.connect(running.admin_conninfo(), autocommit=True) as conn:
            migrate(conn, "slaq")
            grant(conn, "slaq", APP, to_worker=True)
        yield running


class Scene:
    """Workers and a server that come and go, and jobs that must not care."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server, self.queue = server, SyncJobQueue()
        self.workers: list[subprocess.Popen[bytes]] = []

    def ask(self, what: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Over a connection of its own; again as long as the server is not there."""
        until = time.monotonic() + 60
        while True:
            try:
                dsn = make_conninfo(self.server.conninfo(), user="postgres")
                with psycopg.connect(dsn, autocommit=True) as conn:
                    return what(conn)
            except psycopg.OperationalError:
                assert time.monotonic() < until
                time.sleep(0.1)

    def start_worker(self) -> None:
        environment = {**os.environ, "KILL_DSN": self.server.conninfo(), "PYTHONPATH": str(Path(__file__).parents[2])}
        self.workers.append(subprocess.Popen([sys.executable, WORKER], env=environment, stderr=subprocess.DEVNULL))

    def kill_worker(self, number: int) -> None:
        victim = self.workers.pop(number)
        victim.kill()
        victim.wait()
        self.start_worker()

    def kill_server(self) -> None:
        os.kill(self.server.status().pid or 0, signal.SIGKILL)
        time.sleep(0.5)
        self.server.start()


@pytest.mark.parametrize(
    ("jobs", "kills", "crashes"),
    [
        pytest.param(200, 5, 1, marks=pytest.mark.timeout(180)),
        pytest.param(1000, 60, 12, marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_every_job_ends_exactly_once(own: EmbeddedPostgres, jobs: int, kills: int, crashes: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, scene = random.Random(seed), Scene(own)
    queue, ask = scene.queue, scene.ask
    ask(lambda conn: conn.execute("CREATE TABLE kill_runs (job bigint, attempt integer)"))
    ask(lambda conn: conn.execute("GRANT ALL ON kill_runs TO PUBLIC"))
    ask(lambda conn: queue.create_queue(conn, "dead"))
    ask(lambda conn: queue.create_queue(conn, "k", dead_letter="dead", retry_limit=1000))
    given = [{"data": {"n": n}, "retry_limit": 3 if n % 10 == 0 else 1000} for n in range(jobs)]
    harm = [*(["worker"] * kills), *(["server"] * crashes)]
    chance.shuffle(harm)
    portion = -(-jobs // len(harm))
    for _ in range(2):
        scene.start_worker()
    try:
        until = time.monotonic() + 90 + 5 * len(harm)
        while True:
            assert time.monotonic() < until, ask(lambda conn: queue.get_queue_stats(conn, "k"))
            time.sleep(chance.uniform(0.3, 1.2))
            if harm:
                coming, given = given[:portion], given[portion:]
                ask(lambda conn, coming=coming: queue.insert(conn, "k", coming))
                scene.kill_server() if harm.pop() == "server" else scene.kill_worker(chance.randrange(2))
            ask(lambda conn: queue.supervise(conn, stale=timedelta(seconds=6)))
            (stats,) = ask(lambda conn: queue.get_queue_stats(conn, "k"))
            if not harm and stats.completed + stats.failed == jobs:
                break
    finally:
        for worker in scene.workers:
            worker.kill()
            worker.wait()
    assert (stats.active, stats.queued, stats.total) == (0, 0, jobs)
    runs: dict[int, int] = ask(
        lambda conn: dict(conn.execute("SELECT job, count(*) FROM kill_runs GROUP BY job").fetchall())
    )
    found = ask(lambda conn: queue.find_jobs(conn, "k", limit=jobs))
    assert all(runs.get(job.id, 0) >= 1 for job in found if job.state == "completed")
    assert {job.state for job in found if job.data["n"] % 10} == {"completed"}
    ends = "SELECT job_id, count(*) FILTER (WHERE type IN ('succeeded', 'failed')), count(*)"
    noted = ask(lambda conn: conn.execute(
        f"{ends} FROM slaq.procrastinate_events WHERE type IN ('succeeded', 'failed', 'deferred_for_retry') GROUP BY 1"
    ).fetchall())  # fmt: skip
    unbegun = "jobs given back unbegun have an event and no attempt"
    attempts = {job.id: job.attempts for job in found}
    for job, final, all_ends in noted:
        if job in attempts:
            assert final == 1, f"job {job} ended {final} times"
            assert all_ends >= attempts[job], unbegun
    letters = ask(lambda conn: queue.find_jobs(conn, "dead", limit=jobs))
    assert sorted(job.metadata["source"]["id"] for job in letters) == sorted(
        job.id for job in found if job.state == "failed"
    )
