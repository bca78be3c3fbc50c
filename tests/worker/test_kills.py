"""A worker that is killed in the middle of its work leaves nothing half done, and nothing undone."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from worker.desk import QUICK, assert_as_expected, busy, configure, enter, eventually, rows, worker
from worker.test_process import Notes

AGES = [timedelta(minutes=minutes) for minutes in (31, 43, 46, 55, 61, 67)]
TIMES = 10
SHORT_LEASES = f"{QUICK}\nimport slaq.jobs.timer as t\nt.LEASE = datetime.timedelta(seconds=1)"


@pytest.fixture
def superuser(superuser_dsn: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_kills_at_random_points_of_a_tick(
    kills: int, dsn: str, app_conn: Connection[Any], superuser: Connection[Any], tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, notes, ids, caught = random.Random(seed), Notes(tmp_path), [], 0
    configure(app_conn)
    superuser.execute("DELETE FROM slaq.procrastinate_jobs")  # the resync would settle them too

    def told() -> int:
        return superuser.execute("SELECT count(*) FROM slaq.sla_crossings").fetchone()[0]

    for _ in range(kills):
        ids += enter(app_conn, *AGES * TIMES, first=len(ids) + 1)
        before, deadline = told(), time.monotonic() + 20
        with worker(dsn, "--on-threshold", "handlers:sync", program=SHORT_LEASES, **notes.environment) as killed:
            while told() == before and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.03))
            killed.stop(signal.SIGKILL)
        due = superuser.execute("SELECT count(*) FROM slaq.sla_alarms WHERE due_at <= clock_timestamp()").fetchone()[0]
        caught += due > 0
    assert caught >= kills / 2, "hardly a kill hit a tick"
    with worker(dsn, "--on-threshold", "handlers:sync", program=SHORT_LEASES, **notes.environment) as last:
        nothing_due = "SELECT NOT EXISTS (SELECT FROM slaq.sla_alarms WHERE due_at <= clock_timestamp())"
        eventually(lambda: superuser.execute(nothing_due).fetchone()[0], 40 + kills)
        eventually(lambda: not busy(superuser), 40 + 4 * kills)
        assert last.stop() == 0
    assert_as_expected(app_conn, ids)
    found = rows(app_conn, "SELECT crossing_id::text AS id FROM slaq.sla_crossings WHERE kind <> 'breach'")
    heard = {json.loads(line)[1]["event_id"] for line in notes.file.read_text().splitlines() if line.endswith("]")}
    assert {row["id"] for row in found} == heard
    # a tick of sla-timer that a worker died with is given up; the next one takes what is due
    lost = "SELECT queue_name FROM slaq.procrastinate_jobs WHERE status = 'failed' AND queue_name <> 'sla-timer'"
    assert superuser.execute(lost).fetchall() == []
