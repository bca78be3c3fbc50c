"""``slaq worker`` as a process: what it does, and how it stops."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from slaq.commands.worker import worker as command
from slaq.config import Settings
from slaq.errors import ConfigurationError
from slaq.jobs import loops
from slaq.jobs.worker import run_worker
from worker.desk import (
    DESK,
    POLICY,
    QUICK,
    alarm,
    assert_as_expected,
    busy,
    configure,
    crossings,
    enter,
    eventually,
    rows,
    worker,
)

MINUTE = timedelta(minutes=1)
EVENT = "sla-threshold-reached"
HANDLERS = """
import asyncio, json, os, time

def note(word, event):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps([word, event]) + "\\n")

def sync(event):
    note("sync", event)

async def asynchronous(event):
    note("async", event)

class Callable:
    async def __call__(self, event):
        note("callable", event)

instance = Callable()

def fails_once(event):
    note("tried", event)
    if sum(1 for _ in open(os.environ["NOTES"])) == 1:
        raise RuntimeError("not now")

def slow(event):
    note("begun", event)
    time.sleep(float(os.environ["SECONDS"]))
    note("done", event)

def deadly(event):
    note("died", event)
    os.kill(os.getpid(), 9)

not_a_function = 7
"""


@pytest.fixture
def desk(app_conn: Connection[Any]) -> Connection[Any]:
    configure(app_conn)
    return app_conn


@pytest.fixture
def superuser(superuser_dsn: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        yield conn


class Notes:
    """What the handlers have written down."""

    def __init__(self, folder: Path) -> None:
        (folder / "handlers.py").write_text(HANDLERS)
        self.file = folder / "notes"
        self.environment = {"PYTHONPATH": str(folder), "NOTES": str(self.file), "SLAQ_DIRECTORY": str(folder / "slaq")}

    def read(self) -> list[tuple[str, dict[str, Any]]]:
        return [tuple(json.loads(line)) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def words(self) -> list[str]:
        return [word for word, _ in self.read()]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def test_the_periodic_timer_ticks_every_five_minutes(superuser: Connection[Any]) -> None:
    ticks = superuser.execute("SELECT queue, cron, missed FROM slaq.list_schedules('sla-timer')").fetchall()
    assert ticks == [("sla-timer", "*/5 * * * *", "once")]


def test_without_the_loop_the_periodic_timer_settles(
    desk: Connection[Any], dsn: str, superuser: Connection[Any]
) -> None:
    ids = enter(desk, *[61 * MINUTE] * 3)
    superuser.execute("DELETE FROM slaq.procrastinate_jobs")  # the resync settles as well
    superuser.execute("UPDATE slaq.queue_schedules SET created_at = now() - interval '6 minutes'")
    with worker(dsn, program=QUICK, SLAQ_LOOP_INTERVAL="0") as running:
        running.hears("sla-timer settled 3 tickets")
        assert_as_expected(desk, ids)
        assert running.stop() == 0


def test_the_loop_is_punctual_and_uses_the_ordinary_role(
    desk: Connection[Any], dsn: str, superuser: Connection[Any]
) -> None:
    with worker(dsn) as running:
        logins = eventually(
            lambda: superuser.execute(
                "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'slaq worker%'"
            ).fetchall()
        )
        assert logins == [("slaq_app",)]
        (ticket_id,) = enter(desk, 30 * MINUTE - timedelta(seconds=1))
        found = eventually(lambda: crossings(desk, ticket_id=ticket_id))
        assert timedelta() <= found[0]["noticed_at"] - found[0]["crossed_at"] < MINUTE
        assert running.stop() == 0
        assert not running.has_said("started again")


def test_a_change_of_configuration_reaches_the_open_tickets(desk: Connection[Any], dsn: str) -> None:
    (ticket_id,) = enter(desk, 10 * MINUTE)
    before = alarm(desk, ticket_id)
    targets = {"normal": {"response": "120m", "resolution": "10h", "is_24x7": True}}
    with worker(dsn) as running:
        configure(desk, dict(DESK) | {"policies": {"gold": dict(POLICY) | {"targets": targets}}})
        eventually(lambda: alarm(desk, ticket_id)["version"] > before["version"])
        stored = rows(desk, "SELECT sla_response_due_at - sla_started_at AS target FROM slaq.tickets")
        assert stored == [{"target": 120 * MINUTE}]
        assert running.stop() == 0


@pytest.mark.parametrize(("handler", "word"), [("sync", "sync"), ("asynchronous", "async"), ("instance", "callable")])
def test_the_application_hears_of_a_threshold(
    handler: str, word: str, desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    with worker(dsn, "--on-threshold", f"handlers:{handler}", program=QUICK, **notes.environment) as running:
        eventually(notes.read)
        eventually(lambda: not busy(superuser))
        assert running.stop() == 0
    ((said, event),) = notes.read()
    crossing = rows(desk, "SELECT crossing_id::text AS id, crossed_at FROM slaq.sla_crossings")[0]
    assert said == word
    assert event["event_id"] == crossing["id"]
    assert (event["tenant"], event["ticket_id"]) == ("acme", ticket_id)
    assert (event["phase"], event["kind"], event["percent"]) == ("response", "threshold", 50)


def test_an_event_that_the_application_refuses_comes_again(
    desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    enter(desk, 31 * MINUTE)
    with worker(dsn, "--on-threshold", "handlers:fails_once", program=QUICK, **notes.environment):
        eventually(lambda: notes.words() == ["tried", "tried"] and not busy(superuser))
    first, second = (event for _, event in notes.read())
    assert first == second


def test_a_blocking_handler_holds_up_neither_timer_nor_heartbeat(desk: Connection[Any], dsn: str, notes: Notes) -> None:
    enter(desk, 31 * MINUTE)
    with worker(dsn, "--on-threshold", "handlers:slow", program=QUICK, SECONDS="4", **notes.environment) as running:
        eventually(lambda: notes.words() == ["begun"])
        (late,) = enter(desk, 31 * MINUTE, first=2)
        eventually(lambda: crossings(desk, ticket_id=late), seconds=2)
        eventually(lambda: "done" in notes.words())
        assert notes.words().count("begun") == len({event["event_id"] for _, event in notes.read()})  # none given back
        assert not running.has_said("nobody settled")


def test_an_email_lands_as_a_file(
    dsn: str, app_conn: Connection[Any], notes: Notes, superuser: Connection[Any]
) -> None:
    thresholds = {50: {"channels": ["in_app", "email"]}}
    configure(app_conn, dict(DESK) | {"policies": {"gold": dict(POLICY) | {"thresholds": thresholds}}})
    enter(app_conn, 31 * MINUTE)
    folder = Path(notes.environment["SLAQ_DIRECTORY"]) / "mail"
    with worker(dsn, program=QUICK, **notes.environment):
        (mail,) = eventually(lambda: list(folder.glob("*.eml")))
        eventually(lambda: not busy(superuser))
    assert "ada@acme.example" in mail.read_text()
    delivery = rows(app_conn, "SELECT delivery_id::text AS id, status FROM slaq.sla_deliveries")[0]
    assert (delivery["status"], delivery["id"]) == ("sent", mail.stem)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_runs(
    how: int, desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    enter(desk, 31 * MINUTE, 31 * MINUTE)
    environment = notes.environment | {"SECONDS": "1.5", "SLAQ_CONCURRENCY": "1"}
    with worker(dsn, "--on-threshold", "handlers:slow", program=QUICK, **environment) as running:
        eventually(lambda: notes.words() == ["begun"])
        assert running.stop(how) == 0
        assert notes.words() == ["begun", "done"]
        (left,) = busy(superuser, EVENT)
        assert (left["status"], left["attempts"]) == ("todo", 0)
        assert superuser.execute("SELECT count(*) FROM slaq.procrastinate_workers WHERE id > 0").fetchone() == (0,)


def test_a_job_that_outlasts_the_stop_goes_back_to_the_queue(
    desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    enter(desk, 31 * MINUTE)
    environment = notes.environment | {"SECONDS": "60"}
    with worker(
        dsn, "--on-threshold", "handlers:slow", program=f"{QUICK}\nw.QueueWorker.keywords['grace'] = 0.5", **environment
    ) as running:
        eventually(lambda: notes.words() == ["begun"])
        assert running.stop() == 0
    (left,) = busy(superuser, EVENT)
    assert (left["status"], left["worker_id"]) == ("todo", None)
    with worker(dsn, "--on-threshold", "handlers:sync", program=QUICK, **environment):
        eventually(lambda: notes.words()[-1] == "sync")


def test_a_second_signal_ends_it_at_once(desk: Connection[Any], dsn: str, notes: Notes) -> None:
    enter(desk, 31 * MINUTE)
    environment = notes.environment | {"SECONDS": "30"}
    with worker(dsn, "--on-threshold", "handlers:slow", program=QUICK, **environment) as running:
        eventually(lambda: notes.words() == ["begun"])
        running.process.send_signal(signal.SIGTERM)
        running.hears("signal again")
        assert running.stop(seconds=3) == -signal.SIGTERM


def test_refuses_a_database_that_is_not_migrated(server: Any) -> None:
    server.create_database("empty")
    try:
        with worker(server.conninfo("empty")) as running:
            assert running.process.wait(20) == 1
            running.hears("slaq migrate")
            assert not running.has_said("Traceback")
    finally:
        server.drop_database("empty")


def test_refuses_a_login_without_the_rights_of_a_worker(dsn: str, superuser: Connection[Any]) -> None:
    superuser.execute("CREATE ROLE stranger LOGIN")
    try:
        with worker(make_conninfo(dsn, user="stranger")) as running:
            assert running.process.wait(20) == 1
            running.hears("--grant-worker-to stranger")
    finally:
        superuser.execute("DROP ROLE stranger")


def test_warns_of_a_superuser(superuser_dsn: str) -> None:
    with worker(superuser_dsn) as running:
        running.hears("superuser")
        assert running.stop() == 0


@pytest.mark.parametrize("path", ["handlers:nothing", "nowhere:sync", "handlers", "handlers:not_a_function", ""])
def test_refuses_a_handler_that_is_none(path: str, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(notes.environment["PYTHONPATH"])
    result = CliRunner().invoke(command, ["--on-threshold", path])
    assert result.exit_code == 2
    assert "--on-threshold" in result.output


async def test_a_wrong_setting_ends_it(dsn: str) -> None:
    with pytest.raises(ConfigurationError):
        await asyncio.wait_for(run_worker(Settings(smtp_url="ftp://nowhere"), dsn, asyncio.Event()), 10)


async def test_a_loop_that_fails_for_hours_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, slept = asyncio.Event(), []

    async def sleep(seconds: float, stop: asyncio.Event) -> None:
        slept.append(seconds)
        if len(slept) == 1200:
            stop.set()

    async def failing() -> None:
        raise ExceptionGroup("", [psycopg.errors.ReadOnlySqlTransaction("a replica")])

    monkeypatch.setattr(loops, "sleep", sleep)
    await loops.keep_running("timer", failing, stop)
    assert slept[:5] == [0.5, 1, 2, 4, 5]
    assert slept[-1] == 5


def test_waits_for_a_database_that_is_down(tmp_path: Path) -> None:
    with worker(f"host={tmp_path} dbname=slaq user=slaq_app") as running:
        running.hears("Postgres cannot be reached, waiting for it")
        assert running.process.poll() is None
        assert running.stop(seconds=5) == 0


def test_a_database_that_swallows_everything_delays_no_stop() -> None:
    """A connection attempt that is never answered."""
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        port = deaf.getsockname()[1]
        with worker(f"host=127.0.0.1 port={port} dbname=slaq user=slaq_app") as running:
            connection, _ = deaf.accept()
            with connection:
                assert running.stop(seconds=8) == 0


def test_a_job_that_fails_while_another_waits_under_its_lock_goes_back_too(
    desk: Connection[Any], dsn: str, superuser: Connection[Any]
) -> None:
    """The trap of the engine: the first could not go back to the queue and stayed in work for ever."""
    enter(desk, 10 * MINUTE)
    program = f"""{QUICK}
import asyncio, slaq.jobs.own as t
resync, calls = t.resync, []
async def failing(*arguments, **data):
    calls.append(1)
    if len(calls) == 1:
        print("begun", file=__import__("sys").stderr, flush=True)
        await asyncio.sleep(1)
        raise RuntimeError("not now")
    return await resync(*arguments, **data)
t.resync = failing
"""
    superuser.execute("DELETE FROM slaq.procrastinate_jobs")
    ask = "SELECT slaq.request_resync('acme')"
    superuser.execute(ask)
    with worker(dsn, program=program, SLAQ_CONCURRENCY="1") as running:
        running.hears("begun")
        superuser.execute(ask)
        eventually(lambda: not busy(superuser))
        failed = superuser.execute("SELECT count(*) FROM slaq.procrastinate_jobs WHERE status = 'failed'").fetchone()
        assert failed == (0,)
        assert running.stop() == 0


def test_a_job_whose_end_is_cut_off_is_not_in_work_for_ever(
    desk: Connection[Any], dsn: str, superuser_dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    """The connection breaks while the worker notes that a job is done, and the worker lives on."""
    enter(desk, 31 * MINUTE)
    noting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'slaq worker: queue' AND wait_event_type = 'Lock'"
    )
    with worker(dsn, "--on-threshold", "handlers:slow", program=QUICK, SECONDS="1", **notes.environment) as running:
        eventually(lambda: notes.words() == ["begun"])
        with psycopg.connect(superuser_dsn) as holder:
            holder.execute("SELECT FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-threshold-reached' FOR UPDATE")
            (first,) = eventually(lambda: superuser.execute(noting).fetchone())
            superuser.execute("SELECT pg_terminate_backend(%s)", [first])
            eventually(lambda: superuser.execute(f"{noting} AND pid <> {first}").fetchone())
        eventually(lambda: not busy(superuser), 5)
        assert notes.words() == ["begun", "done"]
        assert running.stop() == 0


def test_the_job_of_a_killed_worker_is_done_by_another(
    desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    enter(desk, 31 * MINUTE)
    with worker(dsn, "--on-threshold", "handlers:slow", program=QUICK, SECONDS="60", **notes.environment) as killed:
        eventually(lambda: notes.words() == ["begun"])
        killed.stop(signal.SIGKILL)
    assert busy(superuser, EVENT)[0]["status"] == "doing"
    with worker(dsn, "--on-threshold", "handlers:sync", program=QUICK, **notes.environment) as other:
        other.hears("jobs that nobody settled: 1 stalled")
        eventually(lambda: notes.words() == ["begun", "sync"] and not busy(superuser))
    first, second = (event for _, event in notes.read())
    assert first == second


def test_a_job_that_kills_its_worker_again_and_again_fails_at_last(
    desk: Connection[Any], dsn: str, notes: Notes, superuser: Connection[Any]
) -> None:
    limits = '{"retry_limit": 2, "retry_backoff": false, "retry_delay": 0}'
    superuser.execute("UPDATE slaq.queues SET options = options || %s::jsonb WHERE name = %s", [limits, EVENT])
    enter(desk, 31 * MINUTE)
    for _ in range(3):
        with worker(dsn, "--on-threshold", "handlers:deadly", program=QUICK, **notes.environment) as doomed:
            assert doomed.process.wait(20) == -signal.SIGKILL
    with worker(dsn, "--on-threshold", "handlers:deadly", program=QUICK, **notes.environment) as running:
        running.hears("jobs that nobody settled: 1 stalled")
        status = "SELECT status::text, attempts FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-threshold-reached'"
        eventually(lambda: superuser.execute(status).fetchone() == ("failed", 3))
        assert running.stop() == 0
    assert notes.words() == ["died"] * 3
