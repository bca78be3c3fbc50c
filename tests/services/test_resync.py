"""Configuration that changes reaches the open tickets, whoever changes it and however."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

import slaq.jobs.resync as resync_module
from services.build import Desk, instant, name, sweep, ticket
from slaq.backends.polling import PollingSlaBackend
from slaq.jobs.resync import resync
from slaq.services.verbs import Verbs

RESYNC = "sla-resync"


@pytest.fixture
def settled(desk: Desk) -> Desk:
    """A desk with a ticket and no job waiting."""
    desk.sync_ticket(ticket())
    desk.forget_jobs()
    return desk


def work(desk: Desk, verbs: Verbs | None = None) -> list[int]:
    """Run the waiting resync jobs, and those that they enqueue; how many tickets each looked at."""
    looked_at = []

    async def run(args: dict[str, Any]) -> int:
        async with AsyncConnectionPool(
            desk.dsn, kwargs={"autocommit": True}, min_size=1, max_size=2, open=False
        ) as pool:
            chosen = verbs or Verbs(PollingSlaBackend(), desk.clock, desk.schema)
            return await resync(pool, chosen, desk.schema, args["tenant"], args.get("after", ""), args.get("tickets"))

    while waiting := desk.jobs(RESYNC):
        with psycopg.connect(desk.superuser_dsn) as conn:
            conn.execute("DELETE FROM slaq.procrastinate_jobs WHERE id = %s", [waiting[0]["id"]])
        looked_at.append(asyncio.run(run(waiting[0]["data"])))
    return looked_at


@pytest.mark.parametrize(
    "statement",
    ["UPDATE slaq.sla_policies SET description = 'x'", "DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'gold'",
     "UPDATE slaq.sla_policy_targets SET response_time_minutes = 30", "DELETE FROM slaq.sla_policy_targets",
     "DELETE FROM slaq.sla_notification_thresholds WHERE threshold_percent = 50", "UPDATE slaq.sla_notification_thresholds SET notify_assignee = false",
     "INSERT INTO slaq.holidays (tenant, holiday_date) SELECT tenant, '2024-12-25' FROM slaq.tenants",
     "UPDATE slaq.business_hours_entries SET end_time = '18:00'", "UPDATE slaq.business_hours_schedules SET timezone = 'UTC'",
     "INSERT INTO slaq.sla_settings (tenant, pause_on_awaiting_client) SELECT tenant, false FROM slaq.tenants",
     "UPDATE slaq.status_sla_pause_config SET pauses_sla = true", "DELETE FROM slaq.statuses WHERE status_id = 'waiting'",
     "UPDATE slaq.clients SET sla_policy_id = NULL", "UPDATE slaq.boards SET sla_policy_id = 'silver'",
     "DELETE FROM slaq.clients WHERE client_id = 'vip'", "UPDATE slaq.statuses SET is_closed = true WHERE status_id = 'new'",
     "DELETE FROM slaq.priorities WHERE priority_id = 'normal'"],
)  # fmt: skip
def test_one_request_however_many_rows_change(settled: Desk, other_desk: Desk, statement: str) -> None:
    other_desk.forget_jobs()
    settled.sql(statement, commit=False)
    assert settled.jobs(RESYNC) == []  # it is the transaction's
    settled.conn.commit()
    settled.sql(
        statement.replace("'silver'", "NULL")
        if "boards" in statement
        else "UPDATE slaq.sla_policy_targets SET is_24x7 = NOT is_24x7"
    )
    (job,) = settled.jobs(RESYNC)
    assert (job["status"], job["data"], job["queueing_lock"]) == (
        "todo",
        {"tenant": settled.tenant},
        f"created:sla-resync:{settled.tenant}",
    )
    assert other_desk.jobs(RESYNC) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE slaq.clients SET client_name = 'x'", "UPDATE slaq.boards SET board_name = 'x', manager_user_id = 'ann'",
     "UPDATE slaq.statuses SET status_name = 'x'", "UPDATE slaq.users SET is_active = false", "UPDATE slaq.tickets SET title = 'x'",
     "INSERT INTO slaq.clients (tenant, client_id, client_name, sla_policy_id) SELECT tenant, 'new', 'New', 'silver' FROM slaq.tenants"],
)  # fmt: skip
def test_no_request_for_what_changes_no_promise(settled: Desk, statement: str) -> None:
    settled.sql(statement)
    assert settled.jobs(RESYNC) == []


def test_a_request_that_is_rolled_back_was_none(settled: Desk) -> None:
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 30", commit=False)
    settled.conn.rollback()
    assert settled.jobs(RESYNC) == []


def test_a_waiting_request_is_out_of_reach_until_the_next_change_is_visible(lone_desk: Desk) -> None:
    desk = lone_desk
    desk.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 30")
    desk.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 40", commit=False)
    desk.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what the commit does first
    fetch = "SELECT id FROM slaq.fetch_jobs('sla-resync')"
    with psycopg.connect(desk.superuser_dsn, autocommit=True) as worker:
        (waiting,) = desk.jobs(RESYNC)
        assert worker.execute(fetch.encode()).fetchall() == []
        desk.conn.commit()
        assert worker.execute(fetch.encode()).fetchall() == [(waiting["id"],)]
    desk.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 50")
    assert sorted(job["status"] for job in desk.jobs(RESYNC)) == [
        "doing",
        "todo",
    ]  # the running one may have read too early


def test_targets_schedules_and_pauses_reach_open_tickets(settled: Desk) -> None:
    settled.at("Mon 09:05").sync_ticket(ticket("t2", status_id="parts", response_state="awaiting_client"))
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120 WHERE priority_id = 'high'")
    settled.sql("INSERT INTO slaq.holidays (tenant, holiday_date) VALUES (%s, '2024-01-09')", settled.tenant)
    settled.sql("UPDATE slaq.business_hours_entries SET end_time = '10:00'")
    settled.at("Mon 09:10")
    work(settled)
    row = settled.row()
    assert (row["sla_response_due_at"], row["sla_resolution_due_at"]) == ("Wed 10:00", "Fri 10:00")
    assert settled.audit() == ["sla_started", "sla_retargeted"]
    assert settled.log()[-1]["triggered_by"] == "slaq"
    settled.sql("UPDATE slaq.status_sla_pause_config SET pauses_sla = true WHERE status_id = 'parts'")
    settled.sql("INSERT INTO slaq.sla_settings (tenant, pause_on_awaiting_client) VALUES (%s, false)", settled.tenant)
    settled.at("Mon 09:20")
    work(settled)
    assert (settled.row("t2")["sla_paused_at"], settled.row("t2")["sla_pause_reason"]) == ("Mon 09:00", "status")
    assert settled.facts("t2")[-2:] == ["paused Mon 09:20 status", "resumed Mon 09:20 awaiting_client"]
    settled.assert_as_expected()


def test_the_work_is_done_once(settled: Desk) -> None:
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120")
    work(settled.at("Mon 09:10"))
    before = settled.facts(), settled.audit(), settled.alarm()
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120")
    work(settled.at("Mon 09:20"))
    assert before == (settled.facts(), settled.audit(), settled.alarm())


def test_batch_after_batch(settled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync_module, "BATCH", 3)
    settled.sync_tickets([ticket(f"t{number}") for number in range(1, 8)])
    settled.sync_ticket(ticket("t8", status_id="closed"))
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120")
    assert work(settled.at("Mon 09:10")) == [3, 3, 1]
    assert {settled.row(f"t{number}")["sla_response_due_at"] for number in range(1, 8)} == {"Mon 11:00"}
    assert settled.row("t8")["sla_response_due_at"] == "Mon 10:00"


class Broken(Verbs):
    """Fails for one ticket, so often."""

    times = 1

    def realign(self, tenant: str, ticket_id: str, *args: Any, **options: Any) -> Any:
        if ticket_id == "t2" and self.times:
            self.times -= 1
            raise RuntimeError("broken")
        return super().realign(tenant, ticket_id, *args, **options)


def test_one_that_fails_stops_no_other_and_gets_a_job_of_its_own(
    settled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync_module, "BATCH", 3)
    settled.sync_tickets([ticket(f"t{number}") for number in range(1, 6)])
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120")
    assert work(settled.at("Mon 09:10"), Broken(PollingSlaBackend(), settled.clock, "slaq")) == [3, 1, 2]
    assert {settled.row(f"t{number}")["sla_response_due_at"] for number in range(1, 6)} == {"Mon 11:00"}


def test_one_that_fails_alone_fails_its_job(settled: Desk) -> None:
    broken = Broken(PollingSlaBackend(), settled.clock, "slaq")

    async def run() -> None:
        async with AsyncConnectionPool[AsyncConnection[Any]](
            settled.dsn, kwargs={"autocommit": True}, min_size=1, open=False
        ) as pool:
            assert await resync(pool, broken, "slaq", settled.tenant, tickets=["gone"]) == 1
            await resync(pool, broken, "slaq", settled.tenant, tickets=["t2"])

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(run())


def test_a_ticket_that_is_held_blocks_no_other_application(settled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ticket is released before the next is locked."""
    settled.sync_tickets([ticket(f"t{number}") for number in (1, 2, 3)])
    settled.sql("UPDATE slaq.sla_policy_targets SET response_time_minutes = 120")
    seen: list[list[str]] = []

    class Watching(Verbs):
        def realign(self, tenant: str, ticket_id: str, *args: Any, **options: Any) -> Any:
            with psycopg.connect(settled.superuser_dsn) as conn:
                rows = conn.execute(
                    "SELECT ticket_id FROM slaq.sla_alarms WHERE tenant = %s AND ticket_id NOT IN "
                    "(SELECT ticket_id FROM slaq.sla_alarms WHERE tenant = %s FOR UPDATE SKIP LOCKED)", [tenant, tenant],
                )  # fmt: skip
                seen.append([row[0] for row in rows])
            return super().realign(tenant, ticket_id, *args, **options)

    work(settled.at("Mon 09:10"), Watching(PollingSlaBackend(), settled.clock, "slaq"))
    assert seen == [[], [], []]


class TestDeleting:
    def test_a_policy_with_active_tickets(self, settled: Desk) -> None:
        settled.at("Mon 09:20").pause_sla("t1")
        settled.sql("DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'gold'")
        row = settled.row()
        assert row["sla_policy_id"] is None
        work(settled.at("Mon 09:30"))
        row = settled.row()
        assert (row["sla_response_due_at"], row["sla_resolution_due_at"], settled.alarm()["due_at"]) == (
            None,
            None,
            None,
        )
        assert settled.audit()[-1] == "sla_policy_changed"
        assert settled.get_sla_status("t1").status == "none"

    @pytest.mark.parametrize("verb", ["record_first_response", "pause_sla", "record_resolution"])
    def test_and_the_verbs_go_on_before_the_tickets_are_realigned(self, settled: Desk, verb: str) -> None:
        settled.sql("DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'gold'")
        getattr(settled.at("Mon 09:20"), verb)("t1")
        assert settled.row()["sla_policy_id"] is None
        work(settled)

    def test_and_those_of_closed_tickets_too(self, settled: Desk) -> None:
        settled.at("Mon 09:20").record_resolution("t1")
        settled.sql("DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'gold'")
        settled.at("Mon 09:30").record_first_response("t1", at="Mon 09:10")
        assert (settled.row()["sla_response_at"], settled.row()["sla_policy_id"]) == ("Mon 09:10", None)

    def test_and_the_timer_goes_on(self, lone_desk: Desk) -> None:
        lone_desk.sync_ticket(ticket())
        lone_desk.sql("DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'gold'")
        done = sweep(lone_desk.dsn)
        assert (done.settled, done.failed) == (1, 0)

    def test_a_policy_set_by_hand_leaves_room_for_the_next(self, settled: Desk) -> None:
        settled.handle_policy_change("t1", "silver")
        settled.sql("DELETE FROM slaq.sla_policies WHERE sla_policy_id = 'silver'")
        work(settled.at("Mon 09:10"))
        assert settled.get_sla_status("t1").policy_id == "gold"

    def test_a_client_takes_its_policy_along(self, settled: Desk) -> None:
        settled.sync_ticket(ticket(client_id="vip"))
        settled.sql("DELETE FROM slaq.clients WHERE client_id = 'vip'")
        work(settled.at("Mon 09:10"))
        assert (settled.get_sla_status("t1").policy_id, settled.row()["client_id"]) == ("gold", None)

    def test_a_status_that_paused_lets_go(self, settled: Desk) -> None:
        settled.at("Mon 09:05").handle_status_change("t1", "waiting")
        settled.sql("DELETE FROM slaq.statuses WHERE status_id = 'waiting'")
        work(settled.at("Mon 09:10"))
        assert not settled.get_sla_status("t1").is_paused


class TestSchedulesThatNeverOpen:
    @pytest.mark.parametrize(
        "statement",
        ["DELETE FROM slaq.business_hours_entries", "UPDATE slaq.business_hours_entries SET is_enabled = false",
         "INSERT INTO slaq.business_hours_schedules (tenant, schedule_name) SELECT tenant, 'Empty' FROM slaq.tenants",
         "INSERT INTO slaq.holidays (tenant, holiday_date, is_recurring) SELECT tenant, date '2024-01-01' + day, true FROM slaq.tenants, generate_series(0, 365) day"],
    )  # fmt: skip
    def test_are_refused_at_the_commit(self, settled: Desk, statement: str) -> None:
        with pytest.raises(psycopg.errors.CheckViolation, match="never opens"):
            settled.sql(statement)
        assert settled.jobs(RESYNC) == []

    def test_also_when_the_entries_go_elsewhere(self, settled: Desk) -> None:
        settled.sql(
            "INSERT INTO slaq.business_hours_schedules (tenant, schedule_id, schedule_name, is_24x7) VALUES (%s, 'other', 'Other', true)",
            settled.tenant,
        )
        with pytest.raises(psycopg.errors.CheckViolation, match="Office"):
            settled.sql("UPDATE slaq.business_hours_entries SET schedule_id = 'other'")

    def test_also_when_a_schedule_s_holidays_become_everybody_s(self, settled: Desk) -> None:
        settled.sql(
            "INSERT INTO slaq.business_hours_schedules (tenant, schedule_id, schedule_name, is_24x7) VALUES (%s, 'other', 'Other', true)",
            settled.tenant,
        )
        settled.sql(
            "INSERT INTO slaq.holidays (tenant, schedule_id, holiday_date, is_recurring) "
            "SELECT %s, 'other', date '2024-01-01' + day, true FROM generate_series(0, 365) day", settled.tenant,
        )  # fmt: skip
        with pytest.raises(psycopg.errors.CheckViolation, match="Office"):
            settled.sql("UPDATE slaq.holidays SET schedule_id = NULL")

    def test_may_be_written_in_any_order(self, settled: Desk) -> None:
        settled.sql("DELETE FROM slaq.business_hours_entries", commit=False)
        settled.sql(
            "INSERT INTO slaq.business_hours_entries (tenant, schedule_id, day_of_week, start_time, end_time) VALUES (%s, 'office', 0, '22:00', '06:00')",
            settled.tenant,
        )
        work(settled.at("Mon 09:10"))
        assert settled.row()["sla_response_due_at"] == "Sun 23:00"


def test_instants_read_like_they_are_written() -> None:
    assert name(instant("Tue+1 09:30:05")) == "Tue+1 09:30:05"
