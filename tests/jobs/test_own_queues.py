"""slaq's own jobs are jobs like any other, which only workers reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from slaq.jobs import InvalidJob, SyncJobQueue
from slaq.postgres import EmbeddedPostgres
from slaq.store.migrate import grant

OWN = ["sla-resync", "sla-send-email", "sla-threshold-reached", "sla-timer"]
MINE = "sla-send-email"


@pytest.fixture
def application(server: EmbeddedPostgres, dsn: str) -> Iterator[Connection[Any]]:
    """A login that has been granted an application's rights and no worker's."""
    superuser = make_conninfo(dsn, user="postgres")
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS mere_app")
        conn.execute("CREATE ROLE mere_app LOGIN")
        grant(conn, "slaq", "mere_app")
        conn.execute("SELECT slaq.enqueue(%s::jsonb)", ['[{"queue": "sla-send-email", "data": {"tenant": "acme"}}]'])
    with psycopg.connect(make_conninfo(dsn, user="mere_app"), autocommit=True) as conn:
        yield conn
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("DROP OWNED BY mere_app")
        conn.execute("DROP ROLE mere_app")


VERBS = {
    "send": lambda queue, conn: queue.send(conn, MINE),
    "send_throttled": lambda queue, conn: queue.send_throttled(conn, MINE, seconds=60),
    "insert": lambda queue, conn: queue.insert(conn, MINE, [{}]),
    "update": lambda queue, conn: queue.update(conn, MINE, id=1, data=2),
    "upsert": lambda queue, conn: queue.upsert(conn, MINE, {}),
    "fetch": lambda queue, conn: queue.fetch(conn, MINE),
    "fetch early": lambda queue, conn: queue.fetch(conn, MINE, ignore_start_after=True),
    "complete": lambda queue, conn: queue.complete(conn, MINE, 1, include_queued=True),
    "fail": lambda queue, conn: queue.fail(conn, MINE, 1),
    "touch": lambda queue, conn: queue.touch(conn, MINE, 1),
    "cancel": lambda queue, conn: queue.cancel(conn, MINE, 1),
    "resume": lambda queue, conn: queue.resume(conn, MINE, 1),
    "retry": lambda queue, conn: queue.retry(conn, MINE, 1),
    "delete_job": lambda queue, conn: queue.delete_job(conn, MINE, 1),
    "delete_jobs": lambda queue, conn: queue.delete_jobs(conn, MINE),
    "update_queue": lambda queue, conn: queue.update_queue(conn, MINE, retry_limit=0),
    "redrive": lambda queue, conn: queue.redrive(conn, MINE),
    "preview_redrive": lambda queue, conn: queue.preview_redrive(conn, MINE),
    "get_blocked_keys": lambda queue, conn: queue.get_blocked_keys(conn, MINE),
    "subscribe": lambda queue, conn: queue.subscribe(conn, "e", MINE),
    "unsubscribe": lambda queue, conn: queue.unsubscribe(conn, "e", MINE),
    "schedule": lambda queue, conn: queue.schedule(conn, MINE, "* * * * *"),
    "unschedule": lambda queue, conn: queue.unschedule(conn, "sla-timer"),
    "create_queue with it as dead letter": lambda queue, conn: queue.create_queue(conn, "x", dead_letter=MINE),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_of_an_application_reaches_them(application: Connection[Any], verb: str) -> None:
    with pytest.raises(InvalidJob, match="is slaq's own: only the login of a worker reaches it"):
        VERBS[verb](SyncJobQueue(), application)


def test_an_application_does_not_see_them(application: Connection[Any]) -> None:
    queue = SyncJobQueue()
    for seen in (queue.get_queues, queue.get_queue_stats, queue.find_jobs, queue.get_schedules):
        assert seen(application) == []
    assert queue.find_jobs(application, MINE) == []
    assert queue.get_queue(application, MINE) is None
    with pytest.raises(psycopg.errors.DatabaseError, match="slaq's own"):
        application.execute("SELECT slaq.fire_schedule('sla-timer', '', now())")


def test_neither_a_sweep_nor_a_dead_letter_of_an_application_reaches_them(
    application: Connection[Any], superuser_dsn: str
) -> None:
    queue = SyncJobQueue()
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        superuser.execute(
            "INSERT INTO slaq.procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE VALUES (99, '2020-01-01Z')"
        )
        superuser.execute("SELECT FROM slaq.fetch_jobs('sla-send-email', 1, 99)")
        assert queue.supervise(application).stalled == 0
        assert application.execute("SELECT slaq.unfetch_jobs(99, ARRAY[1]::bigint[])").fetchone() == ([],)
        queue.create_queue(application, "q")
        queue.fail(application, "q", queue.send(application, "q", dead_letter=MINE, retry_limit=0) or 0)
        mine = queue.find_jobs(superuser, MINE)
        assert [job.state for job in mine] == ["active"]
        assert queue.supervise(superuser).stalled == 1


def test_a_worker_s_login_sees_and_mends_them(dsn: str) -> None:
    queue = SyncJobQueue()
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert [each.name for each in queue.get_queues(conn)] == OWN
        queue.update_queue(conn, "sla-threshold-reached", retry_limit=3)
        job = queue.send(conn, "sla-threshold-reached", {"event_id": "1"})
        assert queue.get_job(conn, "sla-threshold-reached", job or 0).retry_limit == 3


def test_they_can_neither_be_made_nor_deleted(dsn: str) -> None:
    queue = SyncJobQueue()
    with psycopg.connect(dsn, autocommit=True) as conn:
        with pytest.raises(InvalidJob, match="names that begin with sla- are slaq's own"):
            queue.create_queue(conn, "sla-mine")
        with pytest.raises(InvalidJob, match="cannot be deleted"):
            queue.delete_queue(conn, MINE)
