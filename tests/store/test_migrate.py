"""Migrations: forward only, everything or nothing, any number of times."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from slaq.errors import ConfigurationError, MigrationError
from slaq.postgres import ADMIN, EmbeddedPostgres
from slaq.store import migrate as module
from slaq.store.migrate import Migration, grant, migrate, migrations, status


@pytest.fixture
def empty(server: EmbeddedPostgres) -> Iterator[str]:
    """A database without slaq, and how an ordinary role that may create roles and schemas reaches it."""
    name = f"empty_{uuid.uuid4().hex}"
    server.create_database(name)
    yield server.admin_conninfo(name)
    server.drop_database(name)


@pytest.fixture
def conn(empty: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(empty, autocommit=True) as opened:
        yield opened


def ledger(conn: Connection[Any]) -> list[Any]:
    return conn.execute("SELECT component, name, checksum FROM slaq.schema_migrations ORDER BY applied_at, component, name").fetchall()


def fingerprint(conn: Connection[Any]) -> list[Any]:
    """Every object of the schema, with its definition."""
    return conn.execute("""
        SELECT 'c', c.relname::text, c.relkind::text, coalesce((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
               FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
        FROM pg_class c WHERE c.relnamespace = 'slaq'::regnamespace
        UNION ALL
        SELECT 'f', p.oid::regprocedure::text, p.prosecdef::text || coalesce(p.proconfig::text, ''), md5(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), ''))
        FROM pg_proc p WHERE p.pronamespace = 'slaq'::regnamespace
        ORDER BY 1, 2, 3
    """).fetchall()


def test_as_an_ordinary_role(conn: Connection[Any]) -> None:
    rights = conn.execute("SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
    assert (rights, conn.info.user) == ((False, False, True), ADMIN)
    done = migrate(conn, "slaq")
    assert [m.name for m in done if m.component == "slaq"] == sorted(m.name for m in migrations("slaq") if m.component == "slaq")
    assert conn.execute("SELECT current_user = session_user, current_setting('search_path')").fetchone() == (True, '"$user", public')


def test_twice_changes_nothing(conn: Connection[Any]) -> None:
    migrate(conn, "slaq")
    before = ledger(conn), fingerprint(conn)
    assert migrate(conn, "slaq") == []
    assert (ledger(conn), fingerprint(conn)) == before


def test_two_at_once(empty: str) -> None:
    def one(_: int) -> int:
        with psycopg.connect(empty, autocommit=True) as conn:
            return len(migrate(conn, "slaq"))

    with ThreadPoolExecutor(3) as pool:
        counts = sorted(pool.map(one, range(3)))
    assert counts[:2] == [0, 0] and counts[2] > 10


def test_two_schemas_at_once(empty: str) -> None:
    def one(schema: str) -> int:
        with psycopg.connect(empty, autocommit=True) as conn:
            return len(migrate(conn, schema))

    with ThreadPoolExecutor(2) as pool:
        assert all(count > 10 for count in pool.map(one, (f"one_{uuid.uuid4().hex[:8]}", f"two_{uuid.uuid4().hex[:8]}")))


def test_status_says_what_is_missing_and_changes_nothing(conn: Connection[Any]) -> None:
    steps = status(conn, "slaq")
    assert steps and not any(step.is_applied for step in steps)
    assert all(step.migration.text for step in steps)  # what --dry-run prints
    assert conn.execute("SELECT to_regnamespace('slaq')").fetchone() == (None,)
    migrate(conn, "slaq")
    assert all(step.is_applied for step in status(conn, "slaq"))
    assert [(step.migration.component, step.migration.name) for step in status(conn, "slaq")] == sorted(
        ((component, name) for component, name, _ in ledger(conn) if component == "procrastinate"), key=lambda each: not each[1].startswith("baseline")
    ) + sorted((component, name) for component, name, _ in ledger(conn) if component == "slaq")


def test_one_that_was_edited_is_refused(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(conn, "slaq")
    before = ledger(conn)
    original = migrations
    monkeypatch.setattr(module, "migrations", lambda schema: [
        Migration(m.component, m.name, m.text + "\n-- edited") if m.name.startswith("0004") else m for m in original(schema)
    ])  # fmt: skip
    for call in (migrate, status):
        with pytest.raises(MigrationError, match="0004_delivery was edited after it was applied"):
            call(conn, "slaq")
    assert ledger(conn) == before


def test_one_that_fails_leaves_nothing(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    original = migrations
    broken = Migration("slaq", "9999_broken", "CREATE TABLE slaq.half (x int); SELECT 1 / 0;")
    monkeypatch.setattr(module, "migrations", lambda schema: [*original(schema), broken])
    with pytest.raises(MigrationError, match="9999_broken failed, nothing was changed: division by zero"):
        migrate(conn, "slaq")
    assert conn.execute("SELECT to_regnamespace('slaq')").fetchone() == (None,)
    monkeypatch.undo()
    assert len(migrate(conn, "slaq")) > 10


def test_an_older_ledger_is_carried_forward(conn: Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    original = migrations
    monkeypatch.setattr(module, "migrations", lambda schema: [m for m in original(schema) if not m.name.startswith("0010")])
    migrate(conn, "slaq")
    monkeypatch.undo()
    assert [step.migration.name for step in status(conn, "slaq") if not step.is_applied] == ["0010_resync"]
    assert [m.name for m in migrate(conn, "slaq")] == ["0010_resync"]


def test_a_newer_ledger_is_left_alone(conn: Connection[Any]) -> None:
    migrate(conn, "slaq")
    conn.execute("SET ROLE slaq_owner")
    conn.execute("INSERT INTO slaq.schema_migrations (component, name, checksum) VALUES ('slaq', '9999_future', 'x')")
    conn.execute("RESET ROLE")
    assert migrate(conn, "slaq") == []


def test_an_older_engine_gets_only_what_came_later(conn: Connection[Any]) -> None:
    """On another baseline Procrastinate's own files follow one by one, those applied already not again."""
    migrate(conn, "slaq")
    conn.execute("SET ROLE slaq_owner")
    conn.execute("UPDATE slaq.schema_migrations SET name = 'baseline-3.0.0' WHERE name LIKE 'baseline%'")
    conn.execute("RESET ROLE")
    assert migrate(conn, "slaq") == []
    assert all(step.is_applied for step in status(conn, "slaq"))


def test_rights_are_granted(conn: Connection[Any], server: EmbeddedPostgres) -> None:
    migrate(conn, "slaq")
    role = f"app_{uuid.uuid4().hex[:12]}"
    conn.execute(f"CREATE ROLE {role}".encode())
    try:
        member = "SELECT pg_has_role(%s, 'slaq_application', 'USAGE'), pg_has_role(%s, 'slaq_worker', 'USAGE')"
        grant(conn, "slaq", role)
        grant(conn, "slaq", role)
        assert conn.execute(member, [role, role]).fetchone() == (True, False)
        grant(conn, "slaq", role, to_worker=True)
        assert conn.execute(member, [role, role]).fetchone() == (True, True)
        with pytest.raises(MigrationError, match="cannot grant"):
            grant(conn, "slaq", "nobody; DROP TABLE")
    finally:
        conn.execute(f"DROP ROLE {role}".encode())


def test_without_the_right_to_create_roles(empty: str, server: EmbeddedPostgres, conn: Connection[Any]) -> None:
    role, schema = f"poor_{uuid.uuid4().hex[:12]}", f"s_{uuid.uuid4().hex[:8]}"
    conn.execute(f"CREATE ROLE {role} LOGIN".encode())
    try:
        with psycopg.connect(empty, user=role, autocommit=True) as poor, pytest.raises(MigrationError, match="roles failed, nothing was changed"):
            migrate(poor, schema)
    finally:
        conn.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize("schema", ["", "Slaq", "1st", "a-b", 'x"; DROP SCHEMA slaq; --', "a" * 41, "ü"])
def test_names_that_are_no_schema(conn: Connection[Any], schema: str) -> None:
    for call in (migrate, status):
        with pytest.raises(ConfigurationError, match="not usable"):
            call(conn, schema)
