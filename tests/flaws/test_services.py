"""Defects of the system that the requirements come from, in services, configuration, schema and telling.

Each test is named after the flaw in ``reference-flaws.md`` and shows what is right.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation, UniqueViolation
from services.build import Desk, instant, sweep, ticket
from services.fixtures import desk, lone_desk, other_desk, shared_dsn
from services.test_resync import work

from slaq import SyncSlaService, run_with_tenant
from slaq.errors import SlaqError
from slaq.services.views import Listing, list_tickets
from slaq.store.database import run

__all__ = ["desk", "lone_desk", "other_desk", "shared_dsn"]


def listed(desk: Desk, listing: Listing) -> list[str]:
    """The tickets of a list, by the database's clock."""
    found = [line.status.ticket_id for line in run(desk.conn, list_tickets(desk.tenant, listing, 100, "slaq"))]
    desk.conn.commit()
    return sorted(found)


def test_f05_a_pause_costs_what_the_schedule_would_have_counted(desk: Desk) -> None:
    desk.at("Fri 16:00").sync_ticket(ticket(at="Fri 16:00", priority_id="normal"))
    desk.at("Fri 17:00").pause_sla("t1")
    desk.at("Mon+1 09:00").resume_sla("t1")
    assert desk.row()["sla_response_due_at"] == "Mon+1 10:00"
    assert desk.row()["sla_total_pause_minutes"] == 64 * 60


def test_f05_a_due_date_never_falls_into_the_night(desk: Desk) -> None:
    desk.sql("UPDATE slaq.sla_policy_targets SET resolution_time_minutes = 450")
    desk.sync_ticket(ticket())
    desk.at("Mon 10:00").pause_sla("t1")
    desk.at("Mon 11:00").resume_sla("t1")
    assert desk.row()["sla_resolution_due_at"] == "Tue 09:30"


def test_f06_one_definition_of_elapsed(desk: Desk) -> None:
    desk.at("Fri 16:00").sync_ticket(ticket(at="Fri 16:00", priority_id="normal"))
    desk.at("Fri 17:00").pause_sla("t1")
    desk.at("Mon+1 09:00").resume_sla("t1")
    status = desk.at("Mon+1 09:30").get_sla_status("t1")
    assert (status.response.percent, status.response.used_minutes, status.response.due_at) == (
        75.0,
        90,
        instant("Mon+1 10:00"),
    )


def test_f10_every_threshold_of_a_gap_is_told(desk: Desk) -> None:
    desk.sql(
        "UPDATE slaq.sla_notification_thresholds SET notify_assignee = threshold_percent = 75, notify_board_manager = false, notify_escalation_manager = false"
    )
    desk.sync_ticket(ticket())
    desk.at("Mon 09:55").sync_ticket(ticket())
    assert [text for text in desk.crossings() if "%" in text] == [
        "response 50% Mon 09:30",
        "response 75% Mon 09:45",
        "response 90% Mon 09:54",
    ]
    assert "ann 75" in desk.inbox()


def test_f16_a_breach_is_not_a_response(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 10:30").sync_ticket(ticket())
    assert (desk.row()["sla_response_met"], desk.row()["sla_response_at"]) == (False, None)
    assert desk.get_sla_status("t1").response.remaining_minutes == -30
    status = desk.at("Mon 10:40").record_first_response("t1")
    assert (status.response.state, desk.row()["sla_response_at"]) == ("missed", "Mon 10:40")


def test_f16_a_retarget_after_a_breach_recalculates(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 10:30").sync_ticket(ticket())
    desk.at("Mon 10:40").handle_priority_change("t1", "normal")
    assert (desk.row()["sla_response_due_at"], desk.row()["sla_response_met"]) == ("Mon 11:00", None)


def test_f17_a_ticket_finished_without_an_answer_owes_none(desk: Desk) -> None:
    desk.sync_ticket(ticket("born", status_id="closed", closed_at="Mon 09:00"))
    desk.sync_ticket(ticket())
    desk.at("Mon 09:30").record_resolution("t1")
    for each in ("born", "t1"):
        status = desk.at("Fri 12:00").get_sla_status(each)
        assert (status.status, status.response.state, status.resolution.state) == ("met", "met", "met")
        assert desk.alarm(each)["due_at"] is None


def test_f17_a_redelivered_creation_does_not_undo_a_breach(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Tue 12:00").sync_ticket(ticket(status_id="closed", closed_at="Tue 12:00"))
    before = desk.row()
    desk.at("Tue 12:05").start_sla_for_ticket(ticket(status_id="closed", closed_at="Tue 12:00"))
    assert desk.row() == before and before["sla_resolution_met"] is False


def test_f18_closing_a_paused_ticket_ends_the_pause_first(desk: Desk) -> None:
    desk.sync_ticket(ticket(status_id="waiting"))
    desk.at("Tue 10:00").handle_status_change("t1", "closed")
    row = desk.row()
    assert (row["sla_response_met"], row["sla_resolution_met"], row["sla_paused_at"]) == (True, True, None)
    status = desk.at("Thu 10:00").handle_status_change("t1", "new")
    assert (status.resolution.used_minutes, status.total_pause_minutes) == (0, 25 * 60)
    assert status.resolution.due_at == instant("Thu 14:00")


def test_f18_what_comes_after_closing_moves_no_verdict(desk: Desk) -> None:
    desk.sync_ticket(ticket(response_state="awaiting_client"))
    desk.at("Tue 10:00").record_resolution("t1")
    before = desk.row()["sla_resolution_due_at"], desk.row()["sla_resolution_met"]
    desk.at("Tue 10:01").handle_response_state_change("t1", None)
    assert (desk.row()["sla_resolution_due_at"], desk.row()["sla_resolution_met"]) == before


def test_f19_a_reopened_ticket_is_tracked_and_its_closed_time_does_not_count(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:30").sync_ticket(ticket(status_id="closed", closed_at="Mon 09:30"))
    status = desk.at("Tue 09:00").sync_ticket(ticket())
    assert (status.resolution.state, status.resolution.used_minutes) == ("running", 30)
    assert desk.alarm()["due_at"] is not None
    desk.at("Tue 14:00").sync_ticket(ticket(status_id="closed", closed_at="Tue 14:00"))
    assert (desk.row()["sla_resolution_at"], desk.row()["sla_resolution_met"]) == ("Tue 14:00", False)


def test_f20_redelivery_changes_nothing(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:10").pause_sla("t1", at="Mon 09:10")
    desk.at("Mon 09:40").resume_sla("t1", at="Mon 09:40")
    desk.at("Mon 10:00").record_resolution("t1", at="Mon 10:00")
    before = desk.row(), desk.audit()
    desk.at("Mon 11:00").start_sla_for_ticket(ticket())
    desk.record_resolution("t1", at="Mon 10:00")
    desk.pause_sla("t1", at="Mon 09:10")
    desk.resume_sla("t1", at="Mon 09:40")
    assert (desk.row(), desk.audit()) == before


@pytest.mark.parametrize("column", ["pause_on_awaiting_client", "response_state_tracking"])
def test_f21_a_pause_whose_reason_is_switched_off_is_let_go(desk: Desk, column: str) -> None:
    desk.sync_ticket(ticket(response_state="awaiting_client"))
    desk.sql(f"INSERT INTO slaq.sla_settings (tenant, {column}) VALUES (%s, false)", desk.tenant)
    assert desk.at("Mon 09:10").get_sla_status("t1").is_paused
    assert not desk.handle_response_state_change("t1", None).is_paused


def test_f21_the_client_s_answer_leaves_other_reasons(desk: Desk) -> None:
    desk.sync_ticket(ticket(response_state="awaiting_client", status_id="waiting"))
    assert desk.at("Mon 09:10").handle_response_state_change("t1", "awaiting_internal").pause_reason == "status"


def test_f22_a_policy_that_was_cleared_and_comes_back_pauses_no_month(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:10").pause_sla("t1")
    desk.at("Mon 09:20").handle_policy_change("t1", None)
    row = desk.row()
    assert (row["sla_policy_id"], row["sla_response_due_at"], row["sla_response_met"]) == (None, None, None)
    desk.at("Mon 09:30").resume_sla("t1")
    status = desk.at("Tue 09:00").release_policy("t1")
    assert (status.total_pause_minutes, status.is_paused) == (20, False)
    assert desk.row()["sla_response_due_at"] == "Mon 10:20"


def test_f23_no_target_no_clock_and_no_alarm(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    status = desk.at("Mon 09:10").handle_priority_change("t1", "none")
    assert (status.response.state, status.response.due_at, desk.alarm()["due_at"]) == ("none", None, None)
    assert desk.audit()[-1] == "priority_changed"
    desk.at("Tue 12:00").sync_ticket(ticket(priority_id="none"))
    assert desk.crossings() == []


def test_f23_a_finished_phase_keeps_its_due_and_verdict(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:50").record_first_response("t1")
    desk.at("Mon 10:00").handle_policy_change("t1", "silver")
    row = desk.row()
    assert (row["sla_response_due_at"], row["sla_response_met"], row["sla_resolution_due_at"]) == (
        "Mon 10:00",
        True,
        "Tue 17:00",
    )


def test_f26_a_breach_never_overwrites_an_answer(lone_desk: Desk) -> None:
    lone_desk.sync_ticket(ticket())
    lone_desk.at("Mon 10:30").record_first_response("t1", at="Mon 09:59")
    assert sweep(lone_desk.dsn).failed == 0
    assert (lone_desk.row()["sla_response_met"], lone_desk.row()["sla_response_at"]) == (True, "Mon 09:59")


def test_f26_an_answer_in_time_that_is_known_too_late_undoes_the_breach(lone_desk: Desk) -> None:
    lone_desk.sync_ticket(ticket())
    sweep(lone_desk.dsn)
    assert lone_desk.row()["sla_response_met"] is False
    lone_desk.at("Fri 12:00").record_first_response("t1", at="Mon 09:59")
    assert lone_desk.row()["sla_response_met"] is True
    assert lone_desk.audit()[-1] == "verdict_corrected"


def test_f31_escalations_have_their_own_instants_phases_and_managers(desk: Desk) -> None:
    desk.sql("DELETE FROM slaq.sla_notification_thresholds")
    desk.sync_ticket(ticket())
    desk.at("Tue 12:00").sync_ticket(ticket())
    assert [text for text in desk.crossings() if "level" in text] == [
        "response level 1 Mon 09:42", "response level 2 Mon 09:54", "response level 3 Mon 10:06",
        "resolution level 1 Mon 11:48", "resolution level 2 Mon 12:36", "resolution level 3 Mon 13:24",
    ]  # fmt: skip
    assert desk.inbox() == ["eve1 70", "eve3 110", "eve1 70", "eve3 110"]
    assert sorted(desk.mail()) == sorted(["eve2 90", "eve3 110"] * 2)


def test_f31_a_retarget_takes_levels_back(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:55").sync_ticket(ticket())
    assert desk.row()["escalation_level"] == 2
    desk.handle_policy_change("t1", "silver")
    assert (desk.row()["escalation_level"], desk.row()["escalated"]) == (None, False)


@pytest.mark.parametrize("assignee", [None, "eve1"])
def test_f32_an_unassigned_ticket_and_one_of_its_own_manager_escalate(desk: Desk, assignee: str | None) -> None:
    desk.sync_ticket(ticket(assigned_to=assignee))
    desk.at("Mon 09:43").sync_ticket(ticket(assigned_to=assignee))
    assert "eve1 70" in desk.inbox() and desk.row()["escalation_level"] == 1


def test_f33_an_error_is_raised_and_the_transaction_lives(desk: Desk) -> None:
    with run_with_tenant(desk.tenant), pytest.raises(SlaqError):
        desk.sla.sync_ticket(desk.conn, ticket(priority_id="no such"))
    assert desk.conn.execute("SELECT 1").fetchone() == (1,)
    with run_with_tenant(desk.tenant):
        desk.sla.sync_ticket(desk.conn, ticket())
    desk.conn.commit()
    assert desk.facts() == ["started Mon 09:00"]


def test_f33_whoever_acts_need_not_be_a_user(desk: Desk) -> None:
    desk.sync_ticket(ticket(), actor="t1")
    assert desk.log()[0]["triggered_by"] == "t1"


def test_f34_each_crossing_is_told_once_in_each_phase(lone_desk: Desk) -> None:
    lone_desk.sync_ticket(ticket())
    for when in ("Mon 09:35", "Mon 09:36", "Mon 11:05", "Mon 11:06"):
        lone_desk.at(when).sync_ticket(ticket(title=when))
        lone_desk.sync_ticket(ticket(title=when))
    assert [text for text in lone_desk.crossings() if "50%" in text] == [
        "response 50% Mon 09:30",
        "resolution 50% Mon 11:00",
    ]
    sweep(lone_desk.dsn)
    sweep(lone_desk.dsn)
    assert lone_desk.inbox().count("ann 50") == 2
    with pytest.raises(UniqueViolation):
        lone_desk.sql(
            "INSERT INTO slaq.sla_crossings (tenant, ticket_id, phase, kind, percent, crossed_at, armed_at, noticed_at, claimed_by) "
            "SELECT tenant, ticket_id, phase, kind, percent, crossed_at, armed_at, noticed_at, claimed_by FROM slaq.sla_crossings LIMIT 1"
        )


def test_f35_told_and_marked_as_told_in_one_transaction(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.forget_jobs()
    with run_with_tenant(desk.tenant):
        desk.at("Tue 12:00").sla.sync_ticket(desk.conn, ticket())
    desk.conn.rollback()
    assert (desk.crossings(), desk.inbox(), desk.mail(), desk.jobs()) == ([], [], [], [])
    desk.sync_ticket(ticket())
    assert len(desk.inbox()) > 10 and len(desk.jobs("sla-send-email")) == len(desk.mail())


def test_f36_only_what_is_configured_is_told_and_as_what_it_is_configured(desk: Desk) -> None:
    desk.sql("DELETE FROM slaq.sla_notification_thresholds WHERE threshold_percent <> 50")
    desk.sql("UPDATE slaq.sla_notification_thresholds SET notification_type = 'breach'")
    desk.sql(
        "UPDATE slaq.sla_policy_targets SET escalation_1_percent = NULL, escalation_2_percent = NULL, escalation_3_percent = NULL"
    )
    desk.sync_ticket(ticket())
    desk.at("Mon 10:30").sync_ticket(ticket())
    assert desk.crossings() == ["response 50% Mon 09:30", "response breach Mon 10:00"]
    assert desk.inbox() == ["ann 50"]
    assert desk.sql("SELECT type FROM slaq.sla_notifications") == [{"type": "error"}]


def test_f38_one_calendar_for_services_and_timers(lone_desk: Desk) -> None:
    desk = lone_desk
    desk.sql(
        "UPDATE slaq.sla_policy_targets SET is_24x7 = true, response_time_minutes = 15 WHERE sla_policy_id = 'gold' AND priority_id = 'high'"
    )
    desk.sql("INSERT INTO slaq.holidays (tenant, holiday_date) VALUES (%s, '2024-01-09')", desk.tenant)
    desk.at("Mon 20:00").sync_ticket(ticket("always", at="Mon 20:00"))
    desk.at("Mon 20:00").sync_ticket(ticket("default", at="Mon 16:30", priority_id="normal"))
    assert desk.row("always")["sla_response_due_at"] == "Mon 20:15"
    assert desk.row("default")["sla_response_due_at"] == "Wed 10:30"
    sweep(desk.dsn)
    assert "response breach Mon 20:15" in desk.crossings("always")
    assert "response breach Wed 10:30" in desk.crossings("default")
    desk.sql("UPDATE slaq.business_hours_schedules SET is_default = false")
    desk.at("Fri 12:00").sync_ticket(ticket("plain", at="Thu 20:00", priority_id="normal"))
    assert desk.row("plain")["sla_response_due_at"] == "Thu 22:00"


def test_f38_a_target_that_is_deleted_breaches_nothing(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.sql("DELETE FROM slaq.sla_policy_targets")
    work(desk.at("Mon 09:10"))
    desk.at("Tue 12:00").sync_ticket(ticket())
    assert (desk.crossings(), desk.row()["sla_response_met"]) == ([], None)


def test_f41_the_policy_that_wins_is_not_fallen_through(desk: Desk) -> None:
    status = desk.sync_ticket(ticket(client_id="vip", priority_id="normal"))
    assert (status.policy_id, status.status, status.response.due_at) == ("silver", "none", None)


def test_f42_minutes_and_risk_are_business_time(desk: Desk) -> None:
    desk.sql("UPDATE slaq.sla_policy_targets SET resolution_time_minutes = 480")
    desk.at("Fri 16:00").sync_ticket(ticket(at="Fri 16:00"))
    desk.at("Fri 16:10").record_first_response("t1")
    status = desk.at("Sun 22:00").get_sla_status("t1")
    assert (status.status, status.resolution.remaining_minutes) == ("on_track", 420)
    status = desk.at("Mon+1 14:00").get_sla_status("t1")
    assert status.status == "at_risk"


def test_f42_a_breach_of_one_phase_hides_neither_the_other_nor_a_pause(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 10:30").pause_sla("t1")
    status = desk.at("Mon 11:30").get_sla_status("t1")
    assert (status.status, status.response.state, status.resolution.state) == ("paused", "breached", "paused")
    assert (status.pause_reason, status.total_pause_minutes) == ("manual", 0)
    desk.resume_sla("t1")
    assert desk.get_sla_status("t1").resolution.state == "running"


def test_f44_what_was_told_is_kept_in_rows_and_reset_by_a_retarget(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:55").sync_ticket(ticket())
    desk.at("Mon 09:56").handle_priority_change("t1", "normal")
    desk.at("Mon 11:00").sync_ticket(ticket(priority_id="normal"))
    live = [text for text in desk.crossings() if "%" in text and "voided" not in text]
    assert live == [
        "response 50% Mon 10:00",
        "response 75% Mon 10:30",
        "response 90% Mon 10:48",
        "response 100% Mon 11:00",
    ]
    assert desk.inbox().count("ann 50") == 2
    desk.assert_as_expected()


def test_f46_an_answer_counts_from_when_it_was_given_and_while_paused(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:30").pause_sla("t1")
    status = desk.at("Mon 12:00").record_first_response("t1")
    assert status.response.state == "met"
    desk.sync_ticket(ticket("t2"))
    assert desk.at("Mon 12:30").record_first_response("t2", at="Mon 09:59").response.state == "met"
    desk.sync_ticket(ticket("t3"))
    desk.at("Mon 12:40").record_resolution("t3")
    desk.at("Mon 12:50").record_first_response("t3")
    assert desk.row("t3")["sla_response_at"] == "Mon 12:40"


def test_f48_no_second_is_lost(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    for minute in range(1, 21):
        desk.at(f"Mon 09:{minute:02}:00").pause_sla("t1")
        desk.at(f"Mon 09:{minute:02}:59").resume_sla("t1")
    assert desk.row()["sla_response_due_at"] == "Mon 10:19:40"
    assert desk.row()["sla_total_pause_minutes"] == 19


@pytest.mark.parametrize(
    "statement",
    ["UPDATE slaq.sla_policies SET is_default = true", "UPDATE slaq.business_hours_schedules SET is_24x7 = true, is_default = NULL",
     "INSERT INTO slaq.business_hours_schedules (tenant, schedule_name, is_default, is_24x7) SELECT tenant, 'Second', true, true FROM slaq.tenants",
     "INSERT INTO slaq.sla_policies (tenant, policy_name) SELECT tenant, 'Gold' FROM slaq.tenants",
     "UPDATE slaq.sla_notification_thresholds SET threshold_percent = 0", "UPDATE slaq.sla_notification_thresholds SET threshold_percent = 50",
     "UPDATE slaq.sla_notification_thresholds SET notification_type = 'alarm'", "UPDATE slaq.sla_notification_thresholds SET channels = '{pigeon}'",
     "UPDATE slaq.sla_policy_targets SET response_time_minutes = 0", "UPDATE slaq.sla_policy_targets SET resolution_time_minutes = -5",
     "UPDATE slaq.sla_policy_targets SET escalation_1_percent = 0", "UPDATE slaq.sla_policy_targets SET escalation_1_percent = 90",
     "UPDATE slaq.sla_policy_targets SET escalation_2_percent = NULL, escalation_1_percent = 120",
     "UPDATE slaq.business_hours_entries SET end_time = start_time", "UPDATE slaq.business_hours_entries SET day_of_week = 7",
     "UPDATE slaq.business_hours_entries SET start_time = '24:00'", "UPDATE slaq.escalation_managers SET escalation_level = 4",
     "INSERT INTO slaq.holidays (tenant, holiday_date) SELECT tenant, '2024-12-25' FROM slaq.tenants, generate_series(1, 2)",
     "UPDATE slaq.users SET email = 'nobody'", "UPDATE slaq.business_hours_schedules SET timezone = 'Mars; DROP'"],
)  # fmt: skip
def test_f49_the_schema_refuses_what_makes_no_sense(desk: Desk, statement: str) -> None:
    refused = (CheckViolation, UniqueViolation, psycopg.errors.NotNullViolation, psycopg.errors.InvalidParameterValue)
    with pytest.raises(refused):
        desk.sql(statement)


def test_f49_two_defaults_cannot_be_set_at_once(desk: Desk) -> None:
    desk.sql("UPDATE slaq.sla_policies SET is_default = false")
    gate = threading.Barrier(2)

    def choose(policy: str) -> bool:
        with psycopg.connect(desk.dsn) as conn:
            conn.execute("SELECT set_config('slaq.tenant', %s, true)", [desk.tenant])
            gate.wait()
            try:
                conn.execute("UPDATE slaq.sla_policies SET is_default = true WHERE sla_policy_id = %s", [policy])
                conn.commit()
            except UniqueViolation:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(choose, ("gold", "silver"))) == [False, True]


def test_f49_deleting_a_manager_leaves_the_level_without_one(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.sql("DELETE FROM slaq.users WHERE user_id IN ('eve1', 'bob', 'ann')")
    desk.at("Mon 09:50").sync_ticket(ticket(assigned_to=None))
    assert (desk.inbox(), desk.row()["escalation_level"]) == ([], 1)


def test_f49_a_schedule_in_use_stays(desk: Desk) -> None:
    desk.sql("UPDATE slaq.sla_policies SET business_hours_schedule_id = 'office'")
    with pytest.raises(ForeignKeyViolation):
        desk.sql("DELETE FROM slaq.business_hours_schedules WHERE schedule_id = 'office'")


def test_f51_the_log_names_everything_and_who_did_it(desk: Desk) -> None:
    desk.sync_ticket(ticket(), actor="ann")
    desk.at("Mon 09:05").sync_ticket(ticket(priority_id="normal", response_state="awaiting_client"), actor="bob")
    desk.at("Mon 09:10").sync_ticket(ticket(priority_id="normal"), actor="ann")
    desk.at("Tue 12:00").sync_ticket(ticket(priority_id="normal", status_id="closed"), actor="ann")
    log = desk.log()
    assert set(desk.audit()) == {
        "sla_started", "priority_changed", "sla_paused", "sla_resumed", "notification_sent", "ticket_escalated", "sla_breach", "resolution_recorded",
    }  # fmt: skip
    changed = next(entry for entry in log if entry["event_type"] == "priority_changed")
    assert (
        changed["triggered_by"],
        changed["event_data"]["old_priority_id"],
        changed["event_data"]["priority_id"],
    ) == ("bob", "high", "normal")
    paused = next(entry for entry in log if entry["event_type"] == "sla_paused")
    assert (paused["triggered_by"], paused["event_data"]["source"]) == ("bob", "awaiting_client")
    assert all(len(entry["event_type"]) <= 50 for entry in log)


def test_f52_deleting_a_policy_stops_the_clocks_of_its_tickets(lone_desk: Desk) -> None:
    lone_desk.sync_ticket(ticket())
    lone_desk.sql("DELETE FROM slaq.sla_policies")
    work(lone_desk.at("Mon 09:10"))
    assert (lone_desk.row()["sla_response_due_at"], lone_desk.alarm()["due_at"]) == (None, None)
    assert sweep(lone_desk.dsn).leased == 0
    assert (lone_desk.crossings(), lone_desk.audit()[-1]) == ([], "sla_policy_changed")


def test_f54_a_pause_flag_that_is_toggled_reaches_the_tickets(desk: Desk) -> None:
    desk.sync_ticket(ticket(status_id="parts"))
    desk.sql("UPDATE slaq.status_sla_pause_config SET pauses_sla = NOT pauses_sla")
    work(desk.at("Mon 09:10"))
    assert desk.get_sla_status("t1").is_paused
    desk.sql("UPDATE slaq.status_sla_pause_config SET pauses_sla = NOT pauses_sla")
    work(desk.at("Mon 09:30"))
    assert desk.row()["sla_response_due_at"] == "Mon 10:20"


def test_f56_what_is_told_never_speaks_of_a_date_that_is_not_there(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:40").handle_policy_change("t1", None)
    desk.at("Mon 12:00").sync_ticket(ticket())
    rows = desk.sql("SELECT title, message FROM slaq.sla_notifications")
    assert rows and all("1970" not in row["title"] + row["message"] for row in rows)


def test_f44_what_was_crossed_under_the_old_promise_is_told_as_that_said(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:50").handle_policy_change("t1", "silver")  # which tells nobody of anything
    assert desk.inbox() == ["ann 50", "eve1 70", "ann 75", "bob 75"]
    assert all(
        "due 2024-01-08 09:00 UTC" in row["message"] for row in desk.sql("SELECT message FROM slaq.sla_notifications")
    )


def test_f60_lists_boards_and_status_agree(desk: Desk) -> None:
    desk.sql("UPDATE slaq.business_hours_schedules SET is_24x7 = true")
    now = desk.conn.execute("SELECT clock_timestamp()").fetchone()
    assert now is not None
    desk.conn.commit()
    ages = {"fresh": 10, "nearly": 44, "risky": 46, "late": 61, "paused": 50}
    for name, minutes in ages.items():
        desk.clock.now = now[0]
        entered = now[0] - timedelta(minutes=minutes)
        desk.sync_ticket(ticket(name, entered_at=entered))
    desk.pause_sla("paused")
    desk.sla = SyncSlaService()
    by_status = {name: desk.get_sla_status(name).status for name in ages}
    assert by_status == {
        "fresh": "on_track",
        "nearly": "on_track",
        "risky": "at_risk",
        "late": "response_breached",
        "paused": "paused",
    }
    assert listed(desk, Listing.AT_RISK) == ["risky"]
    assert listed(desk, Listing.BREACHED) == ["late"]
    assert listed(desk, Listing.PAUSED) == ["paused"]
    assert listed(desk, Listing.OPEN) == sorted(ages)


def test_f62_unrelated_tickets_do_not_wait_for_each_other(desk: Desk) -> None:
    with psycopg.connect(desk.dsn) as one, psycopg.connect(desk.dsn) as two, run_with_tenant(desk.tenant):
        two.execute("SET statement_timeout = '5s'")
        desk.sla.sync_tickets(one, [ticket(f"a{number}") for number in range(30)])
        desk.sla.sync_tickets(two, [ticket(f"b{number}") for number in range(30)])
        two.commit()
        one.commit()


def test_f61_a_holiday_that_is_added_moves_due_dates_and_alarms(desk: Desk) -> None:
    desk.at("Mon 16:30").sync_ticket(ticket(at="Mon 16:30"))
    assert desk.row()["sla_response_due_at"] == "Tue 09:30"
    desk.sql("INSERT INTO slaq.holidays (tenant, holiday_date) VALUES (%s, '2024-01-09')", desk.tenant)
    work(desk.at("Mon 16:40"))
    desk.at("Mon 17:10").sync_ticket(ticket(at="Mon 16:30"))
    assert (desk.row()["sla_response_due_at"], desk.alarm()["due_at"]) == ("Wed 09:30", "Wed 09:12")


def test_f45_an_application_that_only_saves_tickets_is_fully_integrated(desk: Desk) -> None:
    """Three calls are all there is: after a save, at a reply, at a deletion."""
    saved: list[tuple[str, dict[str, Any]]] = [
        ("Mon 09:00", {}), ("Mon 09:10", {"assigned_to": "bob", "priority_id": "normal", "status_id": "waiting"}),
        ("Mon 10:10", {"priority_id": "normal", "response_state": "awaiting_client"}), ("Mon 10:40", {"client_id": "vip"}),
        ("Mon 10:50", {"client_id": "vip", "board_id": "lost"}), ("Mon 11:00", {"status_id": "closed", "closed_at": "Mon 11:00"}),
        ("Mon 11:30", {}), ("Mon 11:45", {"status_id": "closed", "closed_at": "Mon 11:45"}),
    ]  # fmt: skip
    for when, fields in saved:
        desk.at(when).sync_ticket(ticket(**fields))
        if when == "Mon 09:10":
            desk.record_first_response("t1")
    assert desk.facts() == [
        "started Mon 09:00", "retargeted Mon 09:10", "paused Mon 09:10 status", "answered Mon 09:10", "resumed Mon 10:10 status",
        "paused Mon 10:10 awaiting_client", "retargeted Mon 10:40", "resumed Mon 10:40 awaiting_client",
        "retargeted Mon 11:00", "resolved Mon 11:00", "reopened Mon 11:30", "resolved Mon 11:45",
    ]  # fmt: skip
    assert (desk.row()["sla_response_met"], desk.row()["sla_resolution_met"], desk.row()["sla_resolution_at"]) == (
        True,
        True,
        "Mon 11:45",
    )
    desk.assert_as_expected()
    assert desk.delete_ticket("t1")
