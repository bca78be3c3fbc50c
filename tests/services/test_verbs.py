"""Each verb, what it makes of a ticket and what it writes down; both services alike."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from services.build import Call, Desk, instant, play_async, play_sync, row_of, ticket
from slaq import PauseSource
from slaq.status import SlaStatus

SCENARIOS: dict[str, list[Call]] = {
    "an ordinary day": [
        ("Mon 09:00", "sync_ticket", [ticket()], {"actor": "ann"}),
        ("Mon 09:20", "record_first_response", ["t1"], {"actor": "ann"}),
        ("Mon 09:30", "handle_status_change", ["t1", "waiting"], {}),
        ("Mon 11:30", "handle_status_change", ["t1", "new"], {}),
        ("Mon 12:00", "record_resolution", ["t1"], {}),
        ("Mon 13:00", "reopen", ["t1"], {}),
        ("Mon 16:00", "record_resolution", ["t1"], {}),
        ("Mon 16:00", "get_sla_status", ["t1"], {}),
    ],
    "every instant given, all of it learned later": [
        ("Mon 12:00", "start_sla_for_ticket", [ticket()], {"at": instant("Mon 09:00")}),
        ("Mon 12:01", "pause_sla", ["t1"], {"at": instant("Mon 09:10")}),
        ("Mon 12:02", "resume_sla", ["t1"], {"at": instant("Mon 10:10")}),
        ("Mon 12:03", "pause_sla", ["t1"], {"at": instant("Mon 10:20"), "source": PauseSource.AWAITING_CLIENT}),
        ("Mon 12:04", "resume_sla", ["t1"], {"at": instant("Mon 10:40"), "source": "awaiting_client"}),
        ("Mon 12:05", "record_first_response", ["t1"], {"at": instant("Mon 10:59")}),
        ("Mon 12:06", "record_resolution", ["t1"], {"at": instant("Mon 11:30")}),
        ("Mon 12:07", "reopen", ["t1"], {"at": instant("Mon 11:40")}),
        ("Mon 12:08", "handle_response_state_change", ["t1", "awaiting_client"], {"at": instant("Mon 11:50")}),
        ("Mon 12:09", "handle_response_state_change", ["t1", None], {"at": instant("Mon 11:55")}),
        ("Mon 12:10", "handle_status_change", ["t1", "closed"], {"at": instant("Mon 12:00")}),
        ("Mon 12:11", "get_sla_status", ["t1"], {"at": instant("Mon 10:30")}),
    ],
    "promises change": [
        ("Mon 09:00", "sync_ticket", [ticket()], {}),
        ("Mon 10:30", "handle_priority_change", ["t1", "normal"], {}),
        ("Mon 10:40", "handle_policy_change", ["t1", "silver"], {"at": instant("Mon 10:35")}),
        ("Mon 10:50", "handle_policy_change", ["t1", None], {}),
        ("Mon 11:00", "release_policy", ["t1"], {}),
        ("Mon 11:10", "cancel_sla", ["t1"], {"actor": "bob"}),
        ("Mon 11:20", "start_sla_for_ticket", ["t1"], {}),
        ("Mon 11:30", "delete_ticket", ["t1"], {"actor": "bob"}),
        ("Mon 11:30", "delete_ticket", ["t1"], {}),
    ],
    "several at once": [
        ("Mon 09:00", "sync_tickets", [[ticket("b"), ticket("a"), ticket("c", priority_id="none")]], {}),
        ("Mon 17:00", "sync_tickets", [[ticket("c"), ticket("a", status_id="closed")]], {}),
        ("Mon 17:00", "sync_tickets", [[]], {}),
    ],
    "refused": [
        ("Mon 09:00", "record_first_response", ["nobody"], {}),
        ("Mon 09:00", "sync_ticket", [ticket(priority_id="nothing")], {}),
        ("Mon 09:00", "sync_ticket", [ticket(at="Mon 10:00")], {}),
        ("Mon 09:00", "sync_ticket", [ticket()], {}),
        ("Mon 09:00", "record_first_response", ["t1"], {"at": instant("Mon 09:02")}),
        ("Mon 09:00", "pause_sla", ["t1"], {"source": "lunch"}),
        ("Mon 09:30", "get_sla_status", ["t1"], {}),
    ],
}

WRITTEN = """
SELECT jsonb_build_object(
    'tickets', (SELECT jsonb_agg(to_jsonb(t) - 'tenant' ORDER BY ticket_id) FROM slaq.tickets t),
    'facts', (SELECT jsonb_agg(to_jsonb(f) - '{tenant,promise_id,fact_id}'::text[] ORDER BY fact_id) FROM slaq.sla_facts f),
    'alarms', (SELECT jsonb_agg(to_jsonb(a) - 'tenant' ORDER BY ticket_id) FROM slaq.sla_alarms a),
    'crossings', (SELECT jsonb_agg(to_jsonb(c) - '{tenant,crossing_id}'::text[] ORDER BY ticket_id, crossed_at, phase, kind) FROM slaq.sla_crossings c),
    'notifications', (SELECT jsonb_agg(jsonb_build_array(user_id, title, message, created_at) ORDER BY title, message, user_id, created_at) FROM slaq.sla_notifications),
    'audit', (SELECT jsonb_agg((to_jsonb(l) #- '{event_data,crossing_id}') - '{tenant,log_id}'::text[] ORDER BY log_id) FROM slaq.sla_audit_log l)
)::text
"""


def _written(desk: Desk) -> Any:
    return json.loads(desk.sql(WRITTEN)[0]["jsonb_build_object"].replace(desk.tenant, "TENANT"))


@pytest.mark.parametrize("title", SCENARIOS)
async def test_both_services_do_the_same(title: str, desk: Desk, other_desk: Desk) -> None:
    def plain(outcomes: list[Any], tenant: str) -> list[Any]:
        return [(each[0], each[1].replace(tenant, "")) if isinstance(each, tuple) else each for each in outcomes]

    outcomes = plain(play_sync(desk.dsn, SCENARIOS[title], desk.tenant), desk.tenant)
    assert outcomes == plain(await play_async(desk.dsn, SCENARIOS[title], other_desk.tenant), other_desk.tenant)
    assert _written(desk) == _written(other_desk)
    errors = [outcome[0] for outcome in outcomes if isinstance(outcome, tuple)]
    assert errors == (
        ["UnknownTicket", "UnknownReference", "InvalidInstant", "InvalidInstant", "InvalidTicket"] if title == "refused" else []
    )


def test_an_ordinary_day(desk: Desk) -> None:
    for when, verb, args, options in SCENARIOS["an ordinary day"]:
        status = getattr(desk.at(when), verb)(*args, **options)
    assert isinstance(status, SlaStatus)
    row = desk.row()
    assert row["sla_started_at"] == "Mon 09:00"
    assert (row["sla_response_due_at"], row["sla_response_at"], row["sla_response_met"]) == ("Mon 10:00", "Mon 09:20", True)
    # four hours from 09:00, two hours paused, one hour closed
    assert (row["sla_resolution_due_at"], row["sla_resolution_at"], row["sla_resolution_met"]) == ("Mon 16:00", "Mon 16:00", True)
    assert row["sla_total_pause_minutes"] == 120
    assert (row["sla_paused_at"], row["sla_pause_reason"]) == (None, None)
    assert desk.facts() == [
        "started Mon 09:00", "answered Mon 09:20", "paused Mon 09:30 status", "resumed Mon 11:30 status",
        "resolved Mon 12:00", "reopened Mon 13:00", "resolved Mon 16:00",
    ]  # fmt: skip
    changes = [event for event in desk.audit() if event not in ("notification_sent", "ticket_escalated")]
    assert changes == [
        "sla_started", "response_recorded", "sla_paused", "sla_resumed", "resolution_recorded", "sla_reopened", "resolution_recorded",
    ]  # fmt: skip
    assert [entry["triggered_by"] for entry in desk.log()[:2]] == ["ann", "ann"]
    assert desk.alarm()["due_at"] is None
    desk.assert_as_expected()


def test_instants_that_are_given_count_and_not_those_of_the_calls(desk: Desk) -> None:
    for when, verb, args, options in SCENARIOS["every instant given, all of it learned later"]:
        getattr(desk.at(when), verb)(*args, **options)
    row = desk.row()
    assert (row["sla_response_at"], row["sla_response_met"]) == ("Mon 10:59", True)  # 80 minutes of 120 were paused
    assert row["sla_response_due_at"] == "Mon 11:20"
    assert (row["sla_resolution_at"], row["closed_at"]) == ("Mon 12:00", "Mon 12:00")
    assert row["sla_total_pause_minutes"] == 60 + 20 + 5
    desk.assert_as_expected()


class TestStart:
    def test_from_when_the_ticket_was_entered(self, desk: Desk) -> None:
        status = desk.at("Mon 09:10").start_sla_for_ticket(ticket(at="Mon 08:00"))
        assert status.started_at == instant("Mon 08:00")
        assert desk.row()["sla_response_due_at"] == "Mon 10:00"

    def test_twice_changes_nothing(self, desk: Desk) -> None:
        desk.start_sla_for_ticket(ticket())
        before = desk.row(), desk.facts(), desk.audit(), desk.alarm()
        desk.at("Mon 09:05").start_sla_for_ticket(ticket())
        desk.start_sla_for_ticket("t1", at="Mon 09:02")
        assert before == (desk.row(), desk.facts(), desk.audit(), desk.alarm())

    def test_may_not_lie_ahead(self, desk: Desk) -> None:
        with pytest.raises(Exception, match="more than a minute ahead"):
            desk.start_sla_for_ticket(ticket(at="Mon 11:00"))

    def test_born_paused(self, desk: Desk) -> None:
        status = desk.at("Mon 09:01").sync_ticket(ticket(status_id="waiting", response_state="awaiting_client"))
        assert (status.status, status.pause_reason) == ("paused", "awaiting_client")
        assert desk.facts() == ["started Mon 09:00", "paused Mon 09:00 status", "paused Mon 09:00 awaiting_client"]


class TestClosed:
    def test_born_closed_is_met_and_owes_nothing(self, desk: Desk) -> None:
        status = desk.at("Tue 12:00").sync_ticket(ticket(status_id="closed", closed_at="Mon 09:00"))
        assert (status.status, status.response.state, status.resolution.state) == ("met", "met", "met")
        row = desk.row()
        assert (row["sla_response_met"], row["sla_resolution_met"], row["sla_response_at"]) == (True, True, "Mon 09:00")
        assert desk.audit() == ["sla_started", "resolution_recorded"]
        assert desk.log()[0]["event_data"]["created_in_closed_status"] is True
        assert desk.alarm()["due_at"] is None

    def test_first_seen_closed_is_judged_at_its_closing_in_silence(self, desk: Desk) -> None:
        desk.forget_jobs()
        desk.at("Fri 12:00").sync_ticket(ticket(status_id="closed", closed_at="Tue 10:00"))
        row = desk.row()
        assert (row["sla_response_met"], row["sla_resolution_met"], row["sla_resolution_at"]) == (False, False, "Tue 10:00")
        assert "response breach Mon 10:00 silent" in desk.crossings()
        assert "resolution breach Mon 13:00 silent" in desk.crossings()
        assert all(text.endswith("silent") for text in desk.crossings())
        assert desk.inbox() == desk.mail() == []
        assert desk.log()[0]["event_data"]["created_in_closed_status"] is False
        assert all(e["event_data"]["silent"] for e in desk.log() if e["event_type"] in ("notification_sent", "ticket_escalated", "sla_breach"))
        assert desk.sql("SELECT * FROM slaq.sla_notifications_sent") == []
        assert desk.jobs() == []
        desk.assert_as_expected()

    def test_resolving_a_paused_ticket_ends_the_pause(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:30").handle_status_change("t1", "waiting")
        status = desk.at("Tue 12:00").handle_status_change("t1", "closed")
        assert (status.status, status.is_paused) == ("met", False)
        assert (desk.row()["sla_response_at"], desk.row()["sla_response_met"]) == ("Tue 12:00", True)

    def test_an_answer_before_the_resolution_replaces_its_stamp(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 12:00").record_resolution("t1")
        assert (desk.row()["sla_response_at"], desk.row()["sla_response_met"]) == ("Mon 12:00", False)
        desk.at("Mon 12:30").record_first_response("t1", at="Mon 09:59")
        assert (desk.row()["sla_response_at"], desk.row()["sla_response_met"]) == ("Mon 09:59", True)
        assert desk.audit()[-1] == "verdict_corrected"
        assert "response breach Mon 10:00 voided" in desk.crossings()

    def test_a_status_of_another_closed_kind_changes_nothing(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:30").handle_status_change("t1", "closed")
        facts = desk.facts()
        desk.at("Mon 10:30").handle_status_change("t1", "rejected")
        assert (desk.facts(), desk.row()["closed_at"]) == (facts, "Mon 09:30")


class TestPromise:
    def test_first_assigned_later_starts_then_and_knows_what_was_recorded(self, desk: Desk) -> None:
        desk.sql("UPDATE slaq.sla_policies SET is_default = false")
        status = desk.sync_ticket(ticket())
        assert status.status == "none"
        assert (desk.facts(), desk.audit()) == ([], [])
        desk.at("Mon 09:10").record_first_response("t1")
        desk.at("Mon 09:20").pause_sla("t1")
        status = desk.at("Mon 10:00").handle_policy_change("t1", "gold")
        assert status.started_at == instant("Mon 10:00")
        assert (status.status, status.response.state) == ("paused", "met")
        assert desk.facts() == ["answered Mon 09:10", "paused Mon 09:20 manual", "started Mon 10:00"]
        assert desk.at("Mon 11:00").resume_sla("t1").resolution.due_at == instant("Mon 15:00")

    def test_by_client_then_board_then_default(self, desk: Desk) -> None:
        assert desk.sync_ticket(ticket()).policy_id == "gold"
        assert desk.at("Mon 09:05").sync_ticket(ticket(client_id="vip")).policy_id == "silver"
        assert desk.at("Mon 09:10").sync_ticket(ticket(client_id="usual")).policy_id == "gold"
        desk.sql("UPDATE slaq.boards SET sla_policy_id = 'silver'")
        assert desk.at("Mon 09:20").sync_ticket(ticket()).policy_id == "silver"
        assert desk.audit() == ["sla_started", "sla_policy_changed", "sla_policy_changed", "sla_policy_changed"]

    def test_a_priority_without_target_stops_the_clocks_until_one_returns(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        status = desk.at("Mon 09:15").handle_priority_change("t1", "none")
        assert (status.status, status.policy_id) == ("none", "gold")
        row = desk.row()
        assert (row["sla_response_due_at"], row["sla_resolution_due_at"], desk.alarm()["due_at"]) == (None, None, None)
        desk.at("Mon 09:50").record_first_response("t1")
        assert desk.row()["sla_response_at"] == "Mon 09:50"
        status = desk.at("Mon 11:00").handle_priority_change("t1", "high")
        assert status.response.state == "none"  # it was finished while nothing was promised
        assert (status.resolution.state, status.resolution.due_at) == ("running", instant("Mon 13:00"))
        assert [e for e in desk.audit() if "priority" in e] == ["priority_changed"] * 2

    def test_set_by_hand_is_pinned_until_it_is_released(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").handle_policy_change("t1", "silver", actor="bob")
        assert desk.at("Mon 09:20").sync_ticket(ticket(client_id="usual")).policy_id == "silver"
        assert desk.at("Mon 09:30").release_policy("t1").policy_id == "gold"
        assert desk.audit() == ["sla_started", "sla_policy_changed", "sla_policy_released"]
        data = desk.log()[1]
        assert (data["triggered_by"], data["event_data"]["policy_id"], data["event_data"]["old_policy_id"]) == ("bob", "silver", "gold")

    def test_cleared_by_hand_is_cleared_until_it_is_released(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        assert desk.at("Mon 09:10").handle_policy_change("t1", None).status == "none"
        assert desk.at("Mon 09:20").sync_ticket(ticket(client_id="vip")).status == "none"
        assert desk.at("Mon 09:25").start_sla_for_ticket(ticket(client_id="vip")).status == "none"
        status = desk.at("Mon 09:40").release_policy("t1")
        assert (status.policy_id, status.started_at) == ("silver", instant("Mon 09:00"))
        assert desk.audit() == ["sla_started", "sla_policy_cleared", "sla_policy_released"]

    @pytest.mark.parametrize("policy_id", ["silver", None])
    def test_a_cancel_holds_whatever_becomes_of_the_policy(self, desk: Desk, policy_id: str | None) -> None:
        desk.sync_ticket(ticket())
        status = desk.at("Mon 09:10").cancel_sla("t1", actor="bob")
        assert (status.status, desk.alarm()["due_at"], desk.row()["sla_policy_id"]) == ("none", None, None)
        desk.at("Mon 09:15").cancel_sla("t1")
        assert desk.at("Mon 09:20").sync_ticket(ticket(title="Another")).status == "none"
        assert desk.at("Mon 09:20").handle_policy_change("t1", policy_id).status == "none"
        assert desk.at("Mon 09:25").handle_priority_change("t1", "normal").status == "none"
        status = desk.at("Mon 09:40").start_sla_for_ticket("t1")
        assert (status.policy_id, status.started_at) == (("silver", instant("Mon 09:00")) if policy_id else (None, instant("Mon 09:00")))
        assert desk.at("Mon 09:45").release_policy("t1").policy_id == "gold"
        assert desk.audit()[:2] == ["sla_started", "sla_cancelled"]

    def test_a_cancel_is_undone_from_the_original_start(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").cancel_sla("t1")
        status = desk.at("Mon 10:30").start_sla_for_ticket("t1")
        assert (status.started_at, status.response.state) == (instant("Mon 09:00"), "breached")
        assert desk.audit()[:3] == ["sla_started", "sla_cancelled", "sla_restarted"]
        desk.assert_as_expected()

    def test_what_was_closed_without_a_promise_is_not_judged_by_a_later_one(self, desk: Desk) -> None:
        desk.sql("UPDATE slaq.sla_policies SET is_default = false")
        desk.sync_ticket(ticket())
        desk.at("Mon 10:00").sync_ticket(ticket(status_id="closed", closed_at="Mon 10:00"))
        desk.sql("UPDATE slaq.sla_policies SET is_default = true WHERE sla_policy_id = 'gold'")
        status = desk.at("Tue 10:00").sync_ticket(ticket(status_id="closed", closed_at="Mon 10:00", title="Edited"))
        assert (status.status, desk.row()["sla_started_at"]) == ("none", None)
        status = desk.at("Tue 11:00").sync_ticket(ticket())
        assert (status.started_at, status.resolution.state) == (instant("Tue 11:00"), "running")


class TestFacts:
    @pytest.mark.parametrize(
        ("verb", "args"),
        [("record_first_response", []), ("record_resolution", []), ("pause_sla", []), ("reopen", []), ("cancel_sla", []),
         ("handle_priority_change", ["normal"]), ("handle_policy_change", ["silver"]), ("handle_policy_change", [None]),
         ("handle_status_change", ["waiting"]), ("handle_status_change", ["closed"]),
         ("handle_response_state_change", ["awaiting_client"]), ("release_policy", []), ("resume_sla", [])],
    )  # fmt: skip
    def test_the_same_call_twice_is_one(self, desk: Desk, verb: str, args: list[Any]) -> None:
        desk.sync_ticket(ticket())
        first = getattr(desk.at("Mon 09:20"), verb)("t1", *args, at="Mon 09:15")
        before = desk.row(), desk.facts(), desk.audit(), desk.crossings(), desk.alarm()
        assert getattr(desk, verb)("t1", *args, at="Mon 09:15") == first
        assert before == (desk.row(), desk.facts(), desk.audit(), desk.crossings(), desk.alarm())

    def test_a_resume_that_comes_again_after_another_pause_is_old_news(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").pause_sla("t1")
        desk.at("Mon 09:20").resume_sla("t1", at="Mon 09:20")
        desk.at("Mon 09:40").pause_sla("t1")
        facts = desk.facts()
        assert desk.at("Mon 09:50").resume_sla("t1", at="Mon 09:20").is_paused
        assert desk.facts() == facts

    def test_a_resume_before_its_pause(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").pause_sla("t1")
        with pytest.raises(Exception, match="cannot be resumed"):
            desk.resume_sla("t1", at="Mon 09:08")
        desk.conn.rollback()
        assert not desk.resume_sla("t1", at="Mon 09:09").is_paused
        assert desk.facts()[-1] == "resumed Mon 09:10 manual"

    def test_the_first_answer_in_time_counts_and_the_audit_says_so(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        status = desk.at("Mon 10:05").get_sla_status("t1")
        assert status.response.state == "breached"
        desk.record_first_response("t1", at="Mon 10:03")
        assert desk.row()["sla_response_met"] is False
        inbox = desk.inbox()
        status = desk.at("Mon 10:10").record_first_response("t1", at="Mon 09:58")
        assert (status.response.state, desk.row()["sla_response_at"]) == ("met", "Mon 09:58")
        assert desk.inbox() == inbox  # what was told stays told
        correction = desk.log()[-1]
        assert correction["event_type"] == "verdict_corrected"
        assert (correction["event_data"]["from"], correction["event_data"]["to"]) == (False, True)
        desk.at("Mon 10:20").record_first_response("t1", at="Mon 09:59")
        assert desk.audit()[-1] == "verdict_corrected" and desk.row()["sla_response_at"] == "Mon 09:58"

    def test_a_verdict_may_be_corrected_for_the_worse(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").pause_sla("t1")
        desk.at("Mon 10:30").record_first_response("t1")
        assert desk.row()["sla_response_met"] is True
        desk.at("Mon 10:40").resume_sla("t1", at="Mon 09:10")
        assert desk.row()["sla_response_met"] is False
        assert "verdict_corrected" in desk.audit()

    def test_a_fact_without_effect_is_kept_and_not_audited(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").resume_sla("t1")
        desk.at("Mon 09:20").record_first_response("t1")
        desk.at("Mon 09:30").record_first_response("t1")
        assert desk.facts()[1:] == ["resumed Mon 09:10 manual", "answered Mon 09:20", "answered Mon 09:30"]
        assert desk.audit().count("response_recorded") == 1

    def test_status_at_an_earlier_instant(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.at("Mon 09:10").pause_sla("t1")
        desk.at("Mon 09:40").resume_sla("t1")
        desk.at("Mon 15:00").record_first_response("t1")
        now = desk.get_sla_status("t1")
        assert (now.status, now.escalation_level) == ("response_breached", 3)
        past = desk.get_sla_status("t1", at="Mon 09:20")
        assert (past.status, past.response.used_minutes, past.escalation_level) == ("paused", 10, None)
        assert desk.get_sla_status("t1", at="Mon 10:15").status == "at_risk"
        assert desk.get_sla_status("t1", at="Mon 10:20").escalation_level == 1


class TestDelete:
    def test_keeps_the_log_and_nothing_else(self, desk: Desk) -> None:
        desk.sync_ticket(ticket(ticket_number="T-1"))
        desk.at("Tue 12:00").sync_ticket(ticket(ticket_number="T-1"))
        logged = desk.audit()
        assert desk.delete_ticket("t1", actor="bob") is True
        assert desk.audit() == [*logged, "ticket_deleted"]
        last = desk.log()[-1]
        assert (last["triggered_by"], last["event_data"]) == ("bob", {"ticket_number": "T-1"})
        with psycopg.connect(desk.superuser_dsn) as conn:
            for table in ("tickets", "sla_facts", "sla_alarms", "sla_crossings", "sla_notifications", "sla_deliveries"):
                assert conn.execute(f"SELECT count(*) FROM slaq.{table} WHERE tenant = %s".encode(), [desk.tenant]).fetchone() == (0,), table

    def test_of_nobody_leaves_nothing(self, desk: Desk) -> None:
        assert desk.delete_ticket("nobody") is False
        assert (desk.alarm("nobody"), desk.audit("nobody")) == ({}, [])

    def test_and_again_under_the_same_id(self, desk: Desk) -> None:
        desk.sync_ticket(ticket())
        desk.delete_ticket("t1")
        assert desk.at("Mon 10:00").sync_ticket(ticket(at="Mon 10:00")).started_at == instant("Mon 10:00")


def test_row_of_reads_both_kinds(desk: Desk) -> None:
    desk.at("Tue 12:00").sync_ticket(ticket())
    assert len({row_of(record) for record in desk.state().records}) == len(desk.crossings()) > 0
