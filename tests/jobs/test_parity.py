"""slaq answers what pg-boss 12.38 answers: to the recorded answers always, to pg-boss itself where Node is present."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from slaq.jobs import JobQueue, JobState, SyncJobQueue
from slaq.jobs.runner import QueueWorker
from slaq.jobs.schedule import preview_schedule

from .scenarios import SCENARIOS, SLOW_SCENARIOS, Step

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "pgboss.json").read_text())
VERSION = "12.38"

DECISIONS: dict[str, dict[int, Any]] = {}
"""Where slaq answers otherwise on purpose: scenario, step, and slaq's answer. docs/jobs.md says why."""


class Player:
    """Puts slaq through the steps of a scenario."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn, self.queue = conn, SyncJobQueue()
        self.ids: list[int] = []
        self.held: dict[str, Any] = {}

    def label(self, job: int | None) -> str | None:
        if job is None:
            return None
        if job not in self.ids:
            self.ids.append(job)
        return str(self.ids.index(job) + 1)

    def id(self, label: str) -> int:
        return self.ids[int(label) - 1]

    def play(self, step: Step) -> Any:
        verb, queue, *rest = step
        return getattr(self, f"do_{verb}")(queue, *rest)

    def do_create(self, queue, options):
        self.queue.create_queue(self.conn, queue, **options)

    def do_update_queue(self, queue, options):
        self.queue.update_queue(self.conn, queue, **options)

    def do_send(self, queue, data, options):
        return self.label(
            self.queue.send(self.conn, queue, data if isinstance(data, dict) else {"value": data}, **options)
        )

    def do_throttle(self, queue, seconds, options=None):
        return self.label(self.queue.send_throttled(self.conn, queue, {}, seconds=seconds, **options or {}))

    def do_debounce(self, queue, seconds, options=None):
        return self.label(self.queue.send_debounced(self.conn, queue, {}, seconds=seconds, **options or {}))

    def do_insert(self, queue, jobs):
        self.queue.insert(self.conn, queue, jobs)

    def do_fetch(self, queue, limit, options=None):
        jobs = self.queue.fetch(self.conn, queue, limit, group_concurrency=(options or {}).get("groups"))
        self.held |= {f"last {job.id}": job for job in jobs}
        return sorted(self.label(job.id) for job in jobs)

    def do_claim(self, queue, limit, options):
        return len(self.queue.fetch(self.conn, queue, limit, group_concurrency=options["groups"]))

    def do_hold(self, queue, label):
        self.held[label] = self.held[f"last {self.id(label)}"]

    def do_late(self, queue, label):
        return self.queue.complete(self.conn, queue, self.held[label]).affected

    def settle(self, verb, queue, label):
        return getattr(self.queue, verb)(self.conn, queue, self.id(label)).affected

    def do_complete(self, queue, label):
        return self.settle("complete", queue, label)

    def do_fail(self, queue, label):
        return self.settle("fail", queue, label)

    def do_cancel(self, queue, label):
        return self.settle("cancel", queue, label)

    def do_resume(self, queue, label):
        return self.settle("resume", queue, label)

    def do_retry(self, queue, label):
        return self.settle("retry", queue, label)

    def do_delete(self, queue, label):
        return self.queue.delete_job(self.conn, queue, self.id(label))

    def job(self, queue, label):
        found = self.queue.get_job(self.conn, queue, self.id(label))
        assert found is not None
        return found

    def do_state(self, queue, label):
        return self.job(queue, label).state

    def do_limit(self, queue, label):
        return self.job(queue, label).retry_limit

    def do_deferred(self, queue, label):
        now = self.conn.execute("SELECT clock_timestamp()").fetchone()[0]
        return self.job(queue, label).start_after > now

    def do_states(self, queue):
        return [job.state for job in self.queue.find_jobs(self.conn, queue)]

    def do_datas(self, queue):
        return [job.data["n"] for job in self.queue.find_jobs(self.conn, queue)]

    def do_count(self, queue):
        return len(self.queue.find_jobs(self.conn, queue))

    def do_adopt(self, queue):
        return [self.label(job.id) for job in self.queue.find_jobs(self.conn, queue)]

    def do_blocked(self, queue):
        return self.queue.get_blocked_keys(self.conn, queue)

    def do_letters(self, queue):
        return [
            {
                "data": job.data, "key": job.key, "source": job.metadata["source"]["queue"],
                "retry_count": job.metadata["source"]["retry_count"], "retry_limit": job.retry_limit, "state": job.state,
            }
            for job in self.queue.find_jobs(self.conn, queue)
        ]  # fmt: skip

    def do_redrive(self, queue, options):
        return self.queue.redrive(self.conn, queue, **options)

    def do_publish(self, event):
        self.queue.publish(self.conn, event, {})

    def do_subscribe(self, event, queue):
        self.queue.subscribe(self.conn, event, queue)

    def do_unsubscribe(self, event, queue):
        self.queue.unsubscribe(self.conn, event, queue)

    def do_upsert(self, queue, data, options):
        done = self.queue.upsert(self.conn, queue, data, **options)
        return [done.updated, done.inserted]


class SlowPlayer(Player):
    """Puts slaq through what takes its time, with real workers."""

    def do_supervise(self, queue):
        self.queue.supervise(self.conn)

    def do_wait(self, seconds):
        time.sleep(seconds)

    def do_touch(self, queue, label):
        return self.settle("touch", queue, label)

    def do_retries(self, queue, label):
        return self.job(queue, label).retry_count

    def do_output(self, queue, label):
        return self.job(queue, label).output

    def do_message(self, queue, label):
        return self.job(queue, label).output["message"]

    def do_handle(self, queue, label, how, state):
        asyncio.run(self.work(queue, label, how, state, grace=30))
        return state

    def do_stop(self, queue, label, how, grace):
        asyncio.run(self.work(queue, label, how, "active", grace))

    async def work(self, queue, label, how, state, grace):
        app, stop = JobQueue(), asyncio.Event()

        @app.work(queue)
        async def handler(job):
            await asyncio.sleep(how.get("sleeps", 0))
            if "throws" in how:
                raise ValueError(how["throws"])
            return how.get("returns")

        worker = QueueWorker(app, self.conn.info.dsn, polling_interval=0.1, grace=grace)
        running = asyncio.create_task(worker.run(stop))
        while self.job(queue, label).state != state:
            await asyncio.sleep(0.05)
        stop.set()
        await running

    def do_stats(self, queue):
        (stats,) = self.queue.get_queue_stats(self.conn, queue)
        return {name: getattr(stats, name) for name in ("queued", "deferred", "ready", "active", "failed", "total")}

    def do_transact(self, queue, commits):
        with psycopg.connect(self.conn.info.dsn) as conn:
            sent = self.queue.send(conn, queue)
            conn.commit() if commits else conn.rollback()
        return sent is not None

    def do_preview(self, cron, zone, after, count):
        ticks = preview_schedule(cron, tz=zone, after=datetime.fromisoformat(after), count=count)
        return [tick.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") for tick in ticks]


@pytest.mark.parametrize("title", SCENARIOS)
@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "one transaction"])
def test_slaq_answers_like_pg_boss(dsn: str, title: str, autocommit: bool) -> None:
    with psycopg.connect(dsn, autocommit=autocommit) as conn:
        compare(Player(conn), title, SCENARIOS[title])


@pytest.mark.parametrize("title", SLOW_SCENARIOS)
def test_slaq_s_workers_do_like_pg_boss_s(dsn: str, title: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        compare(SlowPlayer(conn), title, SLOW_SCENARIOS[title])


def compare(player: Player, title: str, steps: list[Step]) -> None:
    for number, (step, expected) in enumerate(zip(steps, RECORDED[title], strict=True)):
        wanted = DECISIONS.get(title, {}).get(number, expected)
        answer = player.play(step)
        assert json.loads(json.dumps(answer)) == wanted, f"step {number}: {step}"


@pytest.fixture(scope="session")
def pg_boss(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with pg-boss in node_modules; ``SLAQ_PGBOSS`` may name one."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed: only the recorded answers of pg-boss are compared")
    given = os.environ.get("SLAQ_PGBOSS")
    if given:
        return given
    target = tmp_path_factory.mktemp("pgboss")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(target), f"pg-boss@{VERSION}"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not fetch pg-boss in time: only its recorded answers are compared")
    if done.returncode:
        pytest.skip(f"npm could not fetch pg-boss: only its recorded answers are compared ({done.stderr[-200:]})")
    return str(target)


@pytest.mark.timeout(240)
def test_pg_boss_still_answers_what_was_recorded(pg_boss: str, superuser_dsn: str) -> None:
    where = conninfo_to_dict(superuser_dsn)
    connection = {"host": where["host"], "user": where["user"], "database": where["dbname"]}
    if "port" in where:
        connection["port"] = int(where["port"])
    done = subprocess.run(
        ["node", HERE / "pgboss.mjs", pg_boss, json.dumps(connection)],
        input=json.dumps(SCENARIOS | SLOW_SCENARIOS), check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    if os.environ.get("SLAQ_RECORD"):
        (HERE / "pgboss.json").write_text(done.stdout)
        return
    assert answers == RECORDED


def test_states_carry_the_names_of_pg_boss() -> None:
    assert {state.value for state in JobState} == {"created", "retry", "active", "completed", "cancelled", "failed"}
