"""What is kept, how long, and that finding a job stays quick."""

from __future__ import annotations

import json
import time

import psycopg
import pytest

from slaq.jobs import SyncJobQueue


@pytest.fixture
def admin(superuser_dsn):
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        yield admin


@pytest.fixture
def sync(admin):
    queue = SyncJobQueue()
    queue.create_queue(admin, "q")
    return queue


def age(admin, seconds):
    admin.execute("UPDATE slaq.procrastinate_events SET at = at - make_interval(secs => %s)", [seconds])


def test_settled_jobs_are_deleted_when_their_time_is_up(sync, admin):
    ends = {}
    for name, options in (("short", {"delete_after": 60}), ("never", {"delete_after": 0}), ("default", {})):
        ends[name] = [sync.send(admin, "q", name, retry_limit=0, **options) for _ in range(3)]
    sync.fetch(admin, "q", 9)
    for done, failed, cancelled in ends.values():
        sync.complete(admin, "q", done)
        sync.fail(admin, "q", failed)
        sync.cancel(admin, "q", cancelled)
    assert sync.supervise(admin).deleted == 0
    age(admin, 61)
    assert sync.supervise(admin).deleted == 3
    age(admin, 8 * 86400)
    assert sync.supervise(admin).deleted == 3
    assert {job.data for job in sync.find_jobs(admin, "q")} == {"never"}


def test_a_job_that_gets_another_run_is_not_deleted_meanwhile(sync, admin):
    job = sync.send(admin, "q", retry_limit=0, delete_after=60)
    sync.fetch(admin, "q")
    sync.fail(admin, "q", job)
    age(admin, 100)
    assert sync.retry(admin, "q", job).affected == 1
    assert sync.supervise(admin).deleted == 0
    found = sync.get_job(admin, "q", job)
    assert (found.state, found.retry_limit, found.completed_at) == ("retry", 1, None)


def test_waiting_jobs_are_kept_for_their_retention_from_their_start(sync, admin):
    sync.send(admin, "q", "due", retention=60)
    sync.send(admin, "q", "deferred", retention=60, start_after=3600)
    age(admin, 61)
    assert sync.supervise(admin).retained == 1
    assert [job.data for job in sync.find_jobs(admin, "q")] == ["deferred"]


def test_a_long_queue_is_reported(sync, admin):
    sync.update_queue(admin, "q", warning_size=2)
    sync.insert(admin, "q", [{}] * 3)
    assert sync.supervise(admin).backlogged == ("q",)


def test_stats(sync, admin):
    sync.insert(admin, "q", [{}, {}, {"start_after": 60}, {}, {"retry_limit": 0}])
    first, second, _third = sync.fetch(admin, "q", 3)
    sync.complete(admin, "q", first)
    sync.cancel(admin, "q", second)
    (stats,) = sync.get_queue_stats(admin, "q")
    assert (stats.queued, stats.deferred, stats.ready, stats.active, stats.completed, stats.cancelled, stats.total) == (
        2, 1, 1, 1, 1, 1, 5,
    )  # fmt: skip
    assert stats.oldest_ready is not None


def crowd(admin, queue, count, scheduled):
    admin.execute("INSERT INTO slaq.queues (name) VALUES (%s) ON CONFLICT DO NOTHING", [queue])
    admin.execute("ALTER TABLE slaq.procrastinate_jobs DISABLE TRIGGER USER")
    admin.execute(
        "INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, args, scheduled_at) SELECT %s, 'slaq:' || %s,"
        " '{\"data\": null, \"meta\": {}}', CASE WHEN %s THEN now() + interval '1 day' END FROM generate_series(1, %s)",
        [queue, queue, scheduled, count],
    )
    admin.execute("ALTER TABLE slaq.procrastinate_jobs ENABLE TRIGGER USER")


@pytest.mark.parametrize("analyzed", [False, True])
def test_an_empty_fetch_is_quick_behind_future_jobs_and_other_queues(sync, admin, analyzed):
    crowd(admin, "q", 200_000, True)
    crowd(admin, "other", 20_000, False)
    if analyzed:
        admin.execute("ANALYZE slaq.procrastinate_jobs")
    best = 1.0
    for _ in range(10):
        started = time.perf_counter()
        assert sync.fetch(admin, "q") == []
        best = min(best, time.perf_counter() - started)
    assert best < 0.002


def test_fetching_uses_the_indexes_that_are_meant_for_it(sync, admin):
    crowd(admin, "q", 20_000, False)
    crowd(admin, "q", 20_000, True)
    admin.execute("ANALYZE slaq.procrastinate_jobs")
    for condition, order, index in (
        ("scheduled_at IS NULL", "priority DESC, id", "queue_jobs_ready"),
        ("scheduled_at IS NOT NULL AND scheduled_at <= now()", "scheduled_at", "queue_jobs_deferred"),
    ):
        plan = admin.execute(
            "EXPLAIN (FORMAT json) SELECT id FROM slaq.procrastinate_jobs WHERE queue_name = 'q' AND status = 'todo' AND "
            f"{condition} ORDER BY {order} LIMIT 10 FOR UPDATE SKIP LOCKED"
        ).fetchone()[0]
        assert index in json.dumps(plan)
        assert "Sort" not in json.dumps(plan)


def test_one_notification_a_statement_and_none_for_deferred_jobs(sync, admin, dsn):
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute('LISTEN "procrastinate_queue_v1#q"')
        sync.insert(admin, "q", [{}] * 50)
        sync.send(admin, "q", start_after=60)
        sync.send(admin, "q")
        heard = list(listener.notifies(timeout=0.5))
    assert len(heard) == 2
    assert json.loads(heard[0].payload)["type"] == "job_inserted"


def test_no_verb_reaches_a_plain_task_in_a_queue_of_the_same_name(app_conn, superuser_dsn):
    """slaq's own jobs, and the application's Procrastinate tasks, are nobody's but their worker's."""
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        (plain,) = superuser.execute(
            "INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, args) "
            "VALUES ('sla', 'sla-send-email', '{}') RETURNING id"
        ).fetchone()
    queue = SyncJobQueue()
    queue.create_queue(app_conn, "sla")
    assert queue.fetch(app_conn, "sla") == []
    assert queue.find_jobs(app_conn, "sla") == []
    assert queue.delete_job(app_conn, "sla", plain) == 0
    for verb in (queue.complete, queue.fail, queue.cancel, queue.resume, queue.retry, queue.touch):
        assert verb(app_conn, "sla", plain).affected == 0
    queue.delete_queue(app_conn, "sla")
    app_conn.commit()
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        status = superuser.execute("SELECT status::text FROM slaq.procrastinate_jobs WHERE id = %s", [plain]).fetchone()
    assert status == ("todo",)
