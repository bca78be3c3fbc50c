"""Postgres goes away under a working worker, and comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.store.migrate import grant, migrate
from worker.desk import QUICK, Worker, assert_as_expected, busy, configure, crossings, enter, eventually, worker
from worker.test_process import Notes

HALF = timedelta(minutes=30)


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedPostgres]:
    """A server that a test may stop and kill."""
    with temporary(settings={"synchronous_commit": "on"}) as running:  # a crash takes back no commit
        with psycopg.connect(running.admin_conninfo(), autocommit=True) as conn:
            migrate(conn, "slaq")
            grant(conn, "slaq", APP, to_worker=True)
        yield running


class Scene:
    """A worker with its tickets on a server that comes and goes."""

    def __init__(self, server: EmbeddedPostgres, running: Worker, notes: Notes, tenant: str) -> None:
        self.server, self.running, self.notes, self.tenant = server, running, notes, tenant
        self.ids: list[str] = []

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.conninfo())

    def superuser(self, database: str = "slaq") -> psycopg.Connection[Any]:
        return psycopg.connect(make_conninfo(self.server.conninfo(database), user="postgres"), autocommit=True)

    def enter(self, *ahead: float) -> list[str]:
        """Tickets whose first threshold lies so many seconds ahead."""
        ages = [HALF - timedelta(seconds=seconds) for seconds in ahead]
        with self.connect() as conn:
            new = enter(conn, *ages, tenant=self.tenant, first=len(self.ids) + 1)
        self.ids += new
        return new

    def told(self) -> int:
        with self.connect() as conn:
            return len(crossings(conn, self.tenant))

    def events(self) -> list[str]:
        return [event["event_id"] for _, event in self.notes.read() if event["tenant"] == self.tenant]

    def is_quiet(self) -> bool:
        with self.superuser() as conn:
            return not busy(conn)

    def assert_all_is_well(self, seconds: float = 40.0) -> None:
        """Everything is told once, the queue has done its jobs and takes new ones, and it is the same process."""
        eventually(lambda: self.told() == len(self.ids), seconds)
        eventually(lambda: len(set(self.events())) == len(self.ids), seconds)
        self.enter(0.0)
        eventually(lambda: len(set(self.events())) == len(self.ids), 10)
        eventually(self.is_quiet, seconds)
        with self.connect() as conn:
            assert_as_expected(conn, self.ids, self.tenant)
        assert self.running.stop() == 0


@pytest.fixture
def scene(own: EmbeddedPostgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    notes, tenant = Notes(tmp_path), request.node.name
    with psycopg.connect(own.conninfo()) as conn:
        configure(conn, tenant=tenant)
    with worker(own.conninfo(), "--on-threshold", "handlers:sync", program=QUICK, **notes.environment) as running:
        found = Scene(own, running, notes, tenant)
        found.enter(0.0)
        eventually(lambda: found.events() and found.is_quiet())
        yield found


def bounce(server: EmbeddedPostgres) -> None:
    server.stop()


def kill(server: EmbeddedPostgres) -> None:
    os.kill(server.status().pid, signal.SIGKILL)


def quit_at_once(server: EmbeddedPostgres) -> None:
    os.kill(server.status().pid, signal.SIGQUIT)


@pytest.mark.parametrize(("end", "seconds"), [(bounce, 8), (kill, 1), (quit_at_once, 1)])
def test_what_falls_due_while_postgres_is_down_is_told_once_afterwards(
    end: Callable[..., None], seconds: float, scene: Scene
) -> None:
    scene.enter(0.0, 0.1, 0.5, 0.7, 1.0)
    end(scene.server)
    scene.running.hears("started again")
    time.sleep(seconds)  # during which tickets fall due, and everything gives up at least once
    scene.server.start()
    scene.assert_all_is_well(seconds=15)


def test_a_few_seconds_of_refusal(scene: Scene) -> None:
    scene.enter(0.5, 1.0, 2.0, 3.0)
    with scene.superuser("postgres") as conn:
        conn.execute("ALTER DATABASE slaq ALLOW_CONNECTIONS false")
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'slaq'")
        time.sleep(3)
        conn.execute("ALTER DATABASE slaq ALLOW_CONNECTIONS true")
    scene.assert_all_is_well()


@pytest.mark.parametrize("seconds", [4, pytest.param(120, marks=pytest.mark.soak)])
def test_connections_that_are_cut_again_and_again(seconds: float, scene: Scene) -> None:
    scene.enter(*(number / 20 for number in range(20 * int(seconds))))
    until = time.monotonic() + seconds
    with scene.superuser("postgres") as conn:
        while time.monotonic() < until:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'slaq' AND application_name LIKE 'slaq worker%'"
            )
            time.sleep(0.05)
    scene.assert_all_is_well(40 + seconds)


def test_a_stop_during_an_outage(scene: Scene) -> None:
    scene.server.stop()
    try:
        scene.running.hears("started again")
        assert scene.running.stop(seconds=25) == 0
    finally:
        scene.server.start()
