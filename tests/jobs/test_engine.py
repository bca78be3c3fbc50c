"""What slaq relies on in Procrastinate beyond its documentation: a release that changes it fails here first."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.manager import JobManager
from procrastinate.worker import Worker

from slaq.jobs.eager import EagerWorker
from slaq.jobs.manager import SlaqJobManager


def test_the_release_is_one_that_was_read() -> None:
    assert importlib.metadata.version("procrastinate").startswith("3.10.")


def test_what_is_overridden_is_there_with_the_same_arguments() -> None:
    for mine, theirs, names in (
        (EagerWorker, Worker, ("_fetch_and_process_jobs",)),
        (
            SlaqJobManager,
            JobManager,
            ("fetch_job", "finish_job", "register_worker", "unregister_worker", "update_heartbeat", "listen_for_jobs"),
        ),
    ):
        for name in names:
            arguments = list(inspect.signature(getattr(theirs, name)).parameters)
            assert list(inspect.signature(getattr(mine, name)).parameters) == arguments, name


async def test_what_the_loop_uses_is_there() -> None:
    worker = Worker(App(connector=PsycopgConnector()), concurrency=3)
    assert isinstance(worker._job_semaphore, asyncio.Semaphore)
    assert isinstance(worker._new_job_event, asyncio.Event)
    assert isinstance(worker._stop_event, asyncio.Event)
    assert worker._running_jobs == {}
    assert worker._job_ids_to_abort == {}
    assert list(inspect.signature(worker._process_job).parameters) == ["context"]


def test_procrastinate_s_fetch_leaves_slaq_s_jobs_alone(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT slaq.create_queue('q'), slaq.send_job('q', '1')")
        fetch = "SELECT id, task_name FROM slaq.procrastinate_fetch_job_v2(NULL, 0)"
        assert conn.execute(fetch).fetchone() == (None, None)
        conn.execute("INSERT INTO slaq.procrastinate_jobs (queue_name, task_name, args) VALUES ('q', 'plain', '{}')")
        assert conn.execute(fetch).fetchone()[1] == "plain"


def test_deleting_a_job_deletes_its_events(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT slaq.create_queue('q'), slaq.send_job('q', '1')")
        count = "SELECT count(*) FROM slaq.procrastinate_events"
        assert conn.execute(count).fetchone() == (1,)
        conn.execute("DELETE FROM slaq.procrastinate_jobs")
        assert conn.execute(count).fetchone() == (0,)
