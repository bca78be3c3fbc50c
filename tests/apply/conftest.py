"""A database of its own for each test, cloned from a migrated template on a development server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, sql

from slaq.store import migrate

_SERVER = os.environ.get("SLAQ_TEST_DSN_DIR", "/var/tmp/devpg")


def _dsn(user: str, database: str) -> str:
    return f"host={_SERVER} user={user} dbname={database}"


def _as_admin(statement: str, *names: str) -> None:
    with closing(psycopg.connect(_dsn("slaq_admin", "postgres"), autocommit=True)) as conn:
        conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    name = f"apply_template_{uuid4().hex[:12]}"
    _as_admin("CREATE DATABASE {}", name)
    with closing(psycopg.connect(_dsn("slaq_admin", name))) as conn:
        migrate.migrate(conn, "slaq")
        migrate.grant(conn, "slaq", "slaq_app", to_worker=True)
        conn.commit()
    yield name
    _as_admin("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def app_dsn(template: str) -> Iterator[str]:
    """Where the test's own database is, for an ordinary role."""
    name = f"apply_{uuid4().hex[:12]}"
    _as_admin("CREATE DATABASE {} TEMPLATE {}", name, template)
    yield _dsn("slaq_app", name)
    _as_admin("DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def app_conn(app_dsn: str) -> Iterator[Connection]:
    """A connection of an ordinary role to the test's own database."""
    with closing(psycopg.connect(app_dsn)) as conn:
        yield conn
