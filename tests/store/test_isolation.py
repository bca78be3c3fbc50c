"""Tenants apart, and roles with no more rights than they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege
from services.build import Desk, configure, instant, sweep, ticket

from slaq.postgres import EmbeddedPostgres
from slaq.store.migrate import grant, migrate

TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
       (SELECT array_agg(p.polname::text ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid)
FROM pg_class c
WHERE c.relnamespace = 'slaq'::regnamespace AND c.relkind IN ('r', 'p')
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant')
ORDER BY c.relname
"""
CROSS_TENANT = [
    "lease_due",
    "next_wake",
    "promise_bodies_of_all",
    "postpone_alarm",
    "timer_backlog",
    "lease_outbox",
    "acknowledge_outbox",
    "postpone_outbox",
    "outbox_backlog",
    "disown_ticket",
    "open_tickets_of",
    "request_run",
    "report_health",
    "retire_worker",
]
QUEUES = [
    "enqueue",
    "request_resync",
    "send_job",
    "send_in_slot",
    "insert_jobs",
    "publish_event",
    "update_jobs",
    "upsert_job",
    "fetch_jobs",
    "unfetch_jobs",
    "complete_jobs",
    "fail_jobs",
    "touch_jobs",
    "sweep_jobs",
    "delete_old_queue_jobs",
    "create_queue",
    "update_queue",
    "delete_queue",
    "list_queues",
    "queue_stats",
    "find_jobs",
    "cancel_jobs",
    "resume_jobs",
    "retry_jobs",
    "delete_jobs",
    "blocked_keys",
    "preview_redrive",
    "redrive_jobs",
    "subscribe_queue",
    "unsubscribe_queue",
    "schedule_jobs",
    "unschedule_jobs",
    "list_schedules",
    "fire_schedule",
]


@pytest.fixture
def mere_application(server: EmbeddedPostgres, shared_dsn: str) -> Iterator[Connection[Any]]:
    """A login that has been granted an application's rights and no worker's."""
    superuser = make_conninfo(shared_dsn, user="postgres")
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS only_app")
        conn.execute("CREATE ROLE only_app LOGIN")
        grant(conn, "slaq", "only_app")
    with psycopg.connect(make_conninfo(shared_dsn, user="only_app")) as conn:
        yield conn
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("DROP ROLE only_app")


def test_every_table_of_tenants_is_guarded(desk: Desk) -> None:
    rows = desk.conn.execute(TABLES).fetchall()
    assert len(rows) >= 23
    for name, is_enabled, is_forced, policies in rows:
        assert (is_enabled, is_forced) == (True, True), name
        assert "own_tenant" in policies, name
        assert set(policies) <= {"own_tenant", "every_tenant"}, name


def test_another_tenant_s_rows_are_invisible_and_cannot_be_written(desk: Desk, other_desk: Desk) -> None:
    for each in (desk, other_desk):
        each.at("Tue 12:00").sync_ticket(ticket())
        each.sql("INSERT INTO slaq.sla_settings (tenant) VALUES (%s)", each.tenant)
        each.sql("INSERT INTO slaq.holidays (tenant, holiday_date) VALUES (%s, '2024-12-25')", each.tenant)
        each.sql("INSERT INTO slaq.sla_workflows VALUES (%s, %s, 't1', '2024-01-01Z')", each.tenant, each.tenant)
        each.sql(
            "INSERT INTO slaq.sla_outbox (tenant, ticket_id, workflow_id, version, change, created_at, available_at) "
            "VALUES (%s, 't1', %s, 1, 'start', '2024-01-01Z', '2024-01-01Z')",
            each.tenant,
            each.tenant,
        )
    for name, *_ in desk.conn.execute(TABLES).fetchall():
        mine = desk.sql(f"SELECT to_jsonb(t)::text AS row FROM slaq.{name} t")
        assert mine, f"nothing in {name} to look for"
        assert all(desk.tenant in row["row"] for row in mine), name
        assert other_desk.sql(f"SELECT * FROM slaq.{name} WHERE tenant = %s", desk.tenant) == []
        if name == "sla_audit_log":
            continue
        for statement in (
            f"UPDATE slaq.{name} SET tenant = tenant WHERE tenant = %s",
            f"DELETE FROM slaq.{name} WHERE tenant = %s",
        ):
            assert other_desk.sql(
                f"WITH hit AS ({statement} RETURNING 1) SELECT count(*) AS n FROM hit", desk.tenant
            ) == [{"n": 0}]
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            other_desk.sql(f"UPDATE slaq.{name} SET tenant = %s", desk.tenant)
        other_desk.conn.rollback()
        assert desk.sql(f"SELECT to_jsonb(t)::text AS row FROM slaq.{name} t") == mine


def test_an_application_does_an_application_s_work(desk: Desk, mere_application: Connection[Any]) -> None:
    own = Desk(mere_application, tenant=desk.tenant)
    own.sync_ticket(ticket())
    own.at("Tue 12:00").handle_status_change("t1", "closed")
    own.sql("UPDATE slaq.sla_policies SET policy_name = 'Golden' WHERE sla_policy_id = 'gold'")
    assert own.delete_ticket("t1")
    assert len(desk.jobs("sla-threshold-reached")) > 0


@pytest.mark.parametrize("name", CROSS_TENANT)
def test_an_application_may_not_look_across_tenants(mere_application: Connection[Any], name: str) -> None:
    row = mere_application.execute(
        "SELECT pg_get_function_identity_arguments(oid), array(SELECT format_type(t, NULL) FROM unnest(proargtypes) t) "
        "FROM pg_proc WHERE pronamespace = 'slaq'::regnamespace AND proname = %s", [name],
    ).fetchone()  # fmt: skip
    assert row is not None
    arguments = ", ".join(f"NULL::{kind}" for kind in row[1])
    with pytest.raises(InsufficientPrivilege, match="permission denied for function"):
        mere_application.execute(f"SELECT slaq.{name}({arguments})".encode())


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM slaq.procrastinate_jobs", "DELETE FROM slaq.procrastinate_jobs", "UPDATE slaq.procrastinate_jobs SET args = '{}'",
     "INSERT INTO slaq.procrastinate_jobs (queue_name, task_name) VALUES ('sla', 'x')", "SELECT * FROM slaq.procrastinate_workers",
     "UPDATE slaq.sla_audit_log SET event_type = 'x'", "DELETE FROM slaq.sla_audit_log", "TRUNCATE slaq.sla_audit_log",
     "TRUNCATE slaq.tickets", "CREATE TABLE slaq.mine (x int)", "ALTER TABLE slaq.tickets DISABLE ROW LEVEL SECURITY",
     "DROP TABLE slaq.tickets", "SET ROLE slaq_owner", "SET ROLE slaq_timer", "SET ROLE slaq_worker",
     "UPDATE slaq.schema_migrations SET checksum = ''"],
)  # fmt: skip
def test_an_application_may_not(mere_application: Connection[Any], statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        mere_application.execute(statement.encode())


def test_nobody_edits_the_log(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    for statement in ("UPDATE slaq.sla_audit_log SET event_type = 'x'", "DELETE FROM slaq.sla_audit_log"):
        with pytest.raises(InsufficientPrivilege):
            desk.sql(statement)
        desk.conn.rollback()


def test_privileged_functions_have_a_path_and_an_owner(desk: Desk) -> None:
    rows = desk.conn.execute("""
        SELECT p.proname, p.proconfig, r.rolname, r.rolcanlogin, r.rolsuper, r.rolbypassrls FROM pg_proc p
        JOIN pg_roles r ON r.oid = p.proowner
        WHERE p.pronamespace = 'slaq'::regnamespace AND p.prosecdef ORDER BY 1
    """).fetchall()
    owners = {name: owner for name, _, owner, *_ in rows}
    assert {name for name, owner in owners.items() if owner == "slaq_timer"} == set(CROSS_TENANT)
    assert {name for name, owner in owners.items() if owner == "slaq_owner"} == set(QUEUES)
    for name, settings, _, *rights in rows:
        assert "search_path=slaq, pg_temp" in settings, name
        assert rights == [False, False, False], name


def test_every_function_of_ours_has_a_fixed_path(desk: Desk) -> None:
    rows = desk.conn.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'slaq'::regnamespace "
        "AND NOT coalesce(proconfig, '{}') && ARRAY['search_path=slaq, pg_temp'] "
        "AND prosqlbody IS NULL"  # names in a body that was parsed when it was made are never looked up again
    ).fetchall()
    assert rows == []


def test_the_roles_log_in_nowhere_and_bypass_nothing(desk: Desk) -> None:
    rows = desk.conn.execute(
        "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
        "WHERE rolname IN ('slaq_owner', 'slaq_timer', 'slaq_application', 'slaq_worker')"
    ).fetchall()
    assert len(rows) == 4
    assert not any(flag for _, *flags in rows for flag in flags)


def test_the_timer_s_role_sees_alarms_and_no_configuration(desk: Desk) -> None:
    with psycopg.connect(desk.superuser_dsn) as conn:
        conn.execute("SET ROLE slaq_timer")
        for table in ("users", "sla_policies", "sla_audit_log", "sla_notifications", "procrastinate_jobs", "boards"):
            with pytest.raises(InsufficientPrivilege), conn.transaction():
                conn.execute(f"SELECT * FROM slaq.{table}".encode())
        with pytest.raises(InsufficientPrivilege), conn.transaction():
            conn.execute("UPDATE slaq.tickets SET title = 'x'")


def test_another_schema(server: EmbeddedPostgres, database: str, dsn: str, admin_dsn: str) -> None:
    with psycopg.connect(admin_dsn, autocommit=True) as conn:
        assert migrate(conn, "desk")
        assert migrate(conn, "desk") == []
        grant(conn, "desk", "slaq_app", to_worker=True)
    with psycopg.connect(dsn) as conn:
        configure(conn, schema="desk")
        desk = Desk(conn, schema="desk")
        desk.sync_ticket(ticket())
        desk.sync_ticket(ticket("t2"))
        desk.at("Mon 10:10").record_first_response("t1")
        assert sweep(dsn, "desk").settled == 2
        assert "response breach Mon 10:00" in desk.crossings()
        assert "resolution breach Mon 13:00" in desk.crossings()
        assert {job["queue_name"] for job in desk.jobs()} == {"sla-send-email", "sla-threshold-reached", "sla-resync"}
        desk.assert_as_expected(until=instant("Fri 12:00"))
        assert desk.delete_ticket("t1")
        conn.execute("SELECT set_config('slaq.tenant', 'acme', true)")
        assert conn.execute("SELECT count(*) FROM slaq.sla_audit_log").fetchone() == (0,)
        used = conn.execute("""
            SELECT proname FROM pg_proc WHERE pronamespace = 'desk'::regnamespace
            AND (prosrc ~ '\\mslaq\\.(?!tenant)' OR prosqlbody IS NULL AND NOT proconfig && ARRAY['search_path=desk, pg_temp'])
        """).fetchall()
        assert used == []
