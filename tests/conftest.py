"""One Postgres server a test process, one database a test: cloned from a migrated template."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo

from slaq.clock import FixedClock
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.store.migrate import grant, migrate

TEMPLATE = "template_slaq"
MONDAY_NINE = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
"""Monday 09:00 in Berlin."""


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A throwaway server with a migrated template; tests connect to clones of it as the ordinary role."""
    with temporary() as running:
        running.create_database(TEMPLATE)
        with psycopg.connect(running.admin_conninfo(TEMPLATE), autocommit=True) as conn:
            migrate(conn, "slaq")
            grant(conn, "slaq", APP, to_worker=True)
        yield running


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database of this test's own."""
    name = f"test_{uuid.uuid4().hex}"
    server.create_database(name, template=TEMPLATE)
    yield name
    server.drop_database(name)


@pytest.fixture
def dsn(server: EmbeddedPostgres, database: str) -> str:
    """How the application and the worker reach it: as an ordinary role."""
    return server.conninfo(database)


@pytest.fixture
def admin_dsn(server: EmbeddedPostgres, database: str) -> str:
    """How migrations reach it."""
    return server.admin_conninfo(database)


@pytest.fixture
def superuser_dsn(server: EmbeddedPostgres, database: str) -> str:
    """How a test looks behind row-level security."""
    return make_conninfo(server.conninfo(database), user="postgres")


@pytest.fixture
def app_conn(dsn: str) -> Iterator[Connection[Any]]:
    """A sync connection of the application."""
    with psycopg.connect(dsn) as conn:
        yield conn


@pytest.fixture
async def async_conn(dsn: str) -> AsyncIterator[AsyncConnection[Any]]:
    """An async connection of the application."""
    async with await AsyncConnection.connect(dsn) as conn:
        yield conn


@pytest.fixture
def clock() -> FixedClock:
    """Monday 09:00 in Berlin, until it is moved."""
    return FixedClock(MONDAY_NINE)


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[[], Connection[Any]]]:
    """Further connections of the application, closed at the end."""
    opened: list[Connection[Any]] = []

    def open_one() -> Connection[Any]:
        opened.append(psycopg.connect(dsn))
        return opened[-1]

    yield open_one
    for conn in opened:
        conn.close()
