"""Nothing is assumed of the caller's connection."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
import pytest
from psycopg import ClientCursor, Connection, IsolationLevel
from psycopg.rows import dict_row, namedtuple_row
from psycopg_pool import ConnectionPool

from services.build import Desk, instant, ticket
from slaq import SyncSlaService, Ticket, run_with_tenant
from slaq.errors import ConcurrentChange, UnknownTicket
from slaq.store import database

DECOYS = """
CREATE SCHEMA IF NOT EXISTS evil;
CREATE TABLE evil.tickets (tenant text, ticket_id text);
CREATE TABLE evil.sla_alarms (tenant text, ticket_id text);
CREATE TABLE evil.procrastinate_jobs (id bigint);
CREATE DOMAIN evil.jsonb AS text;
CREATE DOMAIN evil.int8 AS text;
CREATE DOMAIN evil.text AS integer;
CREATE FUNCTION evil.shout() RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''decoy called''; END';
CREATE FUNCTION evil.set_config(pg_catalog.text, pg_catalog.text, boolean) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.shout()::pg_catalog.text';
CREATE FUNCTION evil.current_setting(pg_catalog.text, boolean) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.shout()::pg_catalog.text';
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2001-01-01''::timestamptz';
CREATE FUNCTION evil.md5(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.shout()::pg_catalog.text';
CREATE FUNCTION evil.jsonb_build_object() RETURNS pg_catalog.jsonb LANGUAGE sql AS 'SELECT NULL::pg_catalog.jsonb';
CREATE FUNCTION evil.open_ticket(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.shout()::pg_catalog.text';
CREATE FUNCTION evil.enqueue(pg_catalog.jsonb) RETURNS void LANGUAGE sql AS 'SELECT evil.shout()';
CREATE FUNCTION evil.same(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT evil.shout() IS NULL';
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
CREATE FUNCTION evil.same(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.shout() IS NULL';
CREATE OPERATOR evil.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = evil.same);
GRANT USAGE ON SCHEMA evil TO PUBLIC;
"""


def a_ticket_s_life(conn: Connection[Any], desk: Desk) -> None:
    """Every kind of statement that slaq makes."""
    with run_with_tenant(desk.tenant):
        clock, sla = desk.clock, desk.sla
        clock.now = instant("Mon 09:00")
        sla.sync_tickets(conn, [ticket("t1", title="Drücker 🎉"), ticket("t2")])
        conn.commit()
        clock.now = instant("Mon 10:10")
        sla.sync_ticket(conn, ticket("t1", status_id="waiting"))
        conn.commit()
        assert sla.get_sla_status(conn, "t1").is_paused
        clock.now = instant("Mon 12:00")
        sla.handle_policy_change(conn, "t1", "silver", actor="bob")
        assert sla.record_resolution(conn, "t1").resolution.state == "met"
        assert sla.delete_ticket(conn, "t2")
        conn.commit()
    assert desk.row()["sla_total_pause_minutes"] == 110
    assert "response breach Mon 10:00 voided" in desk.crossings()
    desk.assert_as_expected()


@pytest.fixture
def evil(lone_desk: Desk, superuser_dsn: str) -> Desk:
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        conn.execute(DECOYS.encode())
    return lone_desk


@pytest.mark.parametrize("path", ["evil, pg_catalog", "evil, slaq, pg_catalog", "''", "evil"])
def test_any_search_path(evil: Desk, path: str) -> None:
    with psycopg.connect(evil.dsn, options=f"-c search_path={path.replace(' ', '')}") as conn:
        database._vetted.clear()
        a_ticket_s_life(conn, evil)


@pytest.mark.parametrize(
    "setting",
    ["TimeZone = 'Asia/Kathmandu'", "TimeZone = 'America/New_York'", "TimeZone = '<-03>+3'", "DateStyle = 'German, DMY'",
     "DateStyle = 'SQL, MDY'", "DateStyle = 'Postgres, DMY'", "IntervalStyle = 'sql_standard'", "client_encoding = 'SQL_ASCII'",
     "standard_conforming_strings = on", "bytea_output = 'escape'", "default_transaction_deferrable = on", "jit = off",
     "plan_cache_mode = force_generic_plan", "enable_seqscan = off", "row_security = off"],
)  # fmt: skip
def test_any_setting(desk: Desk, setting: str) -> None:
    with psycopg.connect(desk.dsn, autocommit=True) as conn:
        conn.execute(f"SET {setting}".encode())
        conn.set_autocommit(False)
        if setting == "row_security = off":  # what it asks for is an error rather than hidden rows
            with run_with_tenant(desk.tenant), pytest.raises(psycopg.errors.InsufficientPrivilege):
                desk.sla.sync_ticket(conn, ticket())
            return
        a_ticket_s_life(conn, desk)


@pytest.mark.parametrize(
    "options",
    [{"row_factory": dict_row}, {"row_factory": namedtuple_row}, {"cursor_factory": ClientCursor}, {"prepare_threshold": None},
     {"prepare_threshold": 0}],
    ids=["dict rows", "named tuples", "client cursors", "never prepared", "always prepared"],
)  # fmt: skip
def test_any_connection(desk: Desk, options: dict[str, Any]) -> None:
    with psycopg.connect(desk.dsn, **options) as conn:
        a_ticket_s_life(conn, desk)


@pytest.mark.parametrize("level", [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_any_isolation_level(desk: Desk, level: IsolationLevel) -> None:
    with psycopg.connect(desk.dsn) as conn:
        conn.isolation_level = level
        a_ticket_s_life(conn, desk)


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
@pytest.mark.parametrize("meanwhile", ["changed", "created", "deleted"])
def test_a_change_after_the_snapshot_is_told_to_the_host(desk: Desk, level: IsolationLevel, meanwhile: str) -> None:
    if meanwhile != "created":
        desk.sync_ticket(ticket())
    with psycopg.connect(desk.dsn) as conn, run_with_tenant(desk.tenant):
        conn.isolation_level = level
        conn.execute("SELECT set_config('slaq.tenant', %s, true)", [desk.tenant])
        conn.execute("SELECT count(*) FROM slaq.tickets")  # the snapshot
        if meanwhile == "deleted":
            desk.delete_ticket("t1")
        else:
            desk.at("Mon 09:10").sync_ticket(ticket(priority_id="normal"))
        with pytest.raises(ConcurrentChange, match="run this one again"):
            desk.sla.sync_ticket(conn, ticket(status_id="waiting"))
        conn.rollback()
        desk.sla.sync_ticket(conn, ticket(status_id="waiting"))
        conn.commit()
    assert desk.facts()[-1].startswith("paused")


def test_a_pool_that_reuses_connections_keeps_no_tenant(desk: Desk) -> None:
    with ConnectionPool(desk.dsn, min_size=1, max_size=1, open=True) as pool:
        with pool.connection() as conn, run_with_tenant(desk.tenant):
            desk.sla.sync_ticket(conn, ticket())
            assert conn.execute("SELECT count(*) FROM slaq.tickets").fetchone() == (1,)
        with pool.connection() as conn:
            assert conn.execute("SELECT current_setting('slaq.tenant', true)").fetchone() == ("",)
            for table in ("tickets", "sla_facts", "sla_alarms", "users", "tenants", "sla_audit_log"):
                assert conn.execute(f"SELECT count(*) FROM slaq.{table}".encode()).fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                conn.execute("INSERT INTO slaq.users (tenant, user_id) VALUES (%s, 'mallory')", [desk.tenant])
            conn.rollback()
            assert conn.execute("UPDATE slaq.tickets SET title = 'x'").rowcount == 0


def test_a_rolled_back_call_leaves_the_host_s_own_tenant(desk: Desk) -> None:
    desk.conn.execute("SELECT set_config('slaq.tenant', 'host', true)")
    with run_with_tenant(desk.tenant), pytest.raises(UnknownTicket):
        desk.sla.pause_sla(desk.conn, "nobody")
    assert desk.conn.execute("SELECT current_setting('slaq.tenant')").fetchone() == ("host",)


def test_the_clock_is_the_database_s_unless_one_is_given(desk: Desk) -> None:
    with run_with_tenant(desk.tenant):
        status = SyncSlaService().sync_ticket(desk.conn, Ticket(ticket_id="now", entered_at=instant("Mon 09:00")))
    row = desk.conn.execute("SELECT clock_timestamp() - %s BETWEEN '0' AND '5 s'", [status.at]).fetchone()
    assert row == (True,)


def test_a_superuser_is_warned_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    database._vetted.clear()
    with caplog.at_level(logging.WARNING, "slaq"), run_with_tenant(desk.tenant):
        desk.sla.sync_ticket(desk.conn, ticket())
        desk.conn.commit()
        assert caplog.records == []
        with psycopg.connect(desk.superuser_dsn) as conn:
            desk.sla.sync_ticket(conn, ticket())
            desk.sla.sync_ticket(conn, ticket())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "row-level security" in caplog.text
