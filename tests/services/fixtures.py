"""A desk for each test: a tenant of its own in a database that they share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from services.build import Desk, configure
from slaq.postgres import EmbeddedPostgres

TEMPLATE = "template_slaq"


@pytest.fixture(scope="session")
def shared_dsn(server: EmbeddedPostgres) -> Iterator[str]:
    """One database for all tests that need no database of their own."""
    name = f"shared_{uuid.uuid4().hex}"
    server.create_database(name, template=TEMPLATE)
    yield server.conninfo(name)
    server.drop_database(name)


@contextmanager
def _open_desk(dsn: str) -> Iterator[Desk]:
    tenant = f"acme-{uuid.uuid4().hex}"
    with psycopg.connect(dsn) as conn:
        configure(conn, tenant)
        yield Desk(conn, tenant=tenant)


@pytest.fixture
def desk(shared_dsn: str) -> Iterator[Desk]:
    with _open_desk(shared_dsn) as opened:
        yield opened


@pytest.fixture
def other_desk(shared_dsn: str) -> Iterator[Desk]:
    """Another tenant of the same database."""
    with _open_desk(shared_dsn) as opened:
        yield opened


@pytest.fixture
def lone_desk(app_conn: Connection[Any]) -> Desk:
    """The only tenant of a database of its own, for what works across tenants."""
    configure(app_conn)
    return Desk(app_conn)
