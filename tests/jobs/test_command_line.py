"""The operator's commands and the worker as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import psycopg
import pytest

from slaq.jobs import SyncJobQueue

APP = """
from slaq.jobs import JobQueue
queue = JobQueue()

@queue.work("q")
async def double(job):
    return {"twice": job.data * 2}

@queue.work("broken")
def fail(job):
    raise ValueError("no")
"""


@pytest.fixture
def slaq(dsn, tmp_path):
    with psycopg.connect(dsn, autocommit=True) as conn:
        face = SyncJobQueue()
        for name, options in (("dlq", {}), ("q", {}), ("broken", {"dead_letter": "dlq", "retry_limit": 0})):
            face.create_queue(conn, name, **options)
        face.schedule(conn, "q", "0 9 * * *", tz="Europe/Berlin")
    (tmp_path / "shop.py").write_text(APP)
    environment = {**os.environ, "SLAQ_DATABASE_URL": dsn}

    def run(*arguments, code=0):
        command = [sys.executable, "-m", "slaq", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout or done.stderr

    run.environment, run.cwd = environment, tmp_path
    return run


def test_an_operator_needs_no_sql(slaq, dsn):
    job = json.loads(slaq("jobs", "send", "q", '{"a": 1}', "--key", "k", "--json"))["id"]
    assert json.loads(slaq("jobs", "list", "q", "--state", "created", "--json"))[0]["data"] == {"a": 1}
    assert "created" in slaq("jobs", "show", "q", str(job))
    assert slaq("jobs", "cancel", "q", str(job)) == "1 of 1 cancelled\n"
    assert "0 of 1" in slaq("jobs", "retry", "q", str(job), code=1)
    assert json.loads(slaq("jobs", "cancel", "q", str(job), "--json", code=1)) == {
        "requested": 1, "affected": 0, "ids": [],
    }  # fmt: skip
    assert next(row for row in json.loads(slaq("jobs", "stats", "--json")) if row["name"] == "q")["cancelled"] == 1
    assert "Europe/Berlin" in slaq("jobs", "schedules")
    assert "sla-timer" in slaq("jobs", "schedules"), "slaq's own are there too"
    assert "is not JSON" in slaq("jobs", "send", "q", "{", code=2)
    assert "no job 999" in slaq("jobs", "show", "q", "999", code=1)
    with psycopg.connect(dsn, autocommit=True) as conn:
        face = SyncJobQueue()
        face.fail(conn, "broken", face.send(conn, "broken", 1))
    assert "to broken" in slaq("jobs", "redrive", "dlq", "--dry-run")
    assert slaq("jobs", "redrive", "dlq") == "1 sent back\n"


def test_a_worker_runs_the_applications_handlers_and_exports_metrics(slaq, dsn):
    command = [sys.executable, "-m", "slaq", "worker", "--app", "shop:queue", "--metrics", "0"]
    worker = subprocess.Popen(command, env=slaq.environment, cwd=slaq.cwd, stderr=subprocess.PIPE, text=True)
    try:
        port = worker.stderr.readline().split()[-1]
        face = SyncJobQueue()
        with psycopg.connect(dsn, autocommit=True) as conn:
            good, bad = face.send(conn, "q", 21), face.send(conn, "broken", 1)
            until = time.monotonic() + 20
            while (
                face.get_job(conn, "broken", bad).state != "failed"
                or face.get_job(conn, "q", good).state != "completed"
            ):
                assert time.monotonic() < until
                time.sleep(0.1)
            assert face.get_job(conn, "q", good).output == {"twice": 42}
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        for line in (
            'slaq_job_runs_total{outcome="completed",queue="q"} 1.0',
            'slaq_job_runs_total{outcome="failed",queue="broken"} 1.0',
            'slaq_job_duration_seconds_count{queue="q"} 1.0',
            'slaq_jobs{queue="q",state="completed"} 1.0',
            'slaq_jobs{queue="sla-timer",state="active"} 0.0',
            'slaq_alarms{state="due"} 0.0',
            'slaq_outbox{state="waiting"} 0.0',
            "slaq_postgres_up 1.0",
            "slaq_rescues_total 0.0",
        ):
            assert f"\n{line}\n" in page, line
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        worker.stderr.close()


def test_a_worker_says_what_is_wrong_with_its_app(slaq):
    assert "cannot be imported" in slaq("worker", "--app", "nowhere:queue", code=2)
    assert "not a JobQueue" in slaq("worker", "--app", "shop:double", code=2)
    assert "'zzz' has no handler" in slaq("worker", "--app", "shop:queue", "--queue", "zzz", code=1)
