"""What a crossing writes: whom it tells, through what, and once."""

from __future__ import annotations

from typing import Any

import pytest

from services.build import Desk, instant, sweep, ticket
from slaq.services.crossing import settlement_document
from slaq.timeline import settle


def emails(desk: Desk) -> list[str]:
    return [job["data"]["delivery_id"] for job in desk.jobs("sla-send-email")]


def test_every_row_of_a_ticket_that_runs_out(desk: Desk) -> None:
    desk.forget_jobs()
    desk.sync_ticket(ticket(url="https://acme.test/t1", ticket_number="T-1"))
    desk.at("Mon 10:10").sync_ticket(ticket(url="https://acme.test/t1", ticket_number="T-1"))
    assert desk.crossings() == [
        "response 50% Mon 09:30", "response level 1 Mon 09:42", "response 75% Mon 09:45", "response level 2 Mon 09:54",
        "response 90% Mon 09:54", "response breach Mon 10:00", "response 100% Mon 10:00", "response level 3 Mon 10:06",
        "resolution 25% Mon 10:00",
    ][:8]  # fmt: skip
    desk.assert_as_expected()
    assert desk.inbox() == [
        "ann 50", "eve1 70", "ann 75", "bob 75", "ann 90", "eve1 90", "eve2 90", "eve3 90",
        "ann 100", "bob 100", "eve1 100", "eve2 100", "eve3 100", "eve3 110",
    ]  # fmt: skip
    assert desk.mail() == [
        "eve2 90", "ann 90", "eve1 90", "eve2 90", "eve3 90",
        "ann 100", "bob 100", "eve1 100", "eve2 100", "eve3 100", "eve3 110",
    ] or sorted(desk.mail()) == sorted([
        "eve2 90", "ann 90", "eve1 90", "eve2 90", "eve3 90",
        "ann 100", "bob 100", "eve1 100", "eve2 100", "eve3 100", "eve3 110",
    ])  # fmt: skip
    row = desk.row()
    assert (row["escalated"], row["escalation_level"], row["escalated_at"]) == (True, 3, "Mon 10:10")
    assert (row["sla_response_met"], row["sla_response_at"]) == (False, None)
    notices = {n["type"]: n for n in desk.sql("SELECT * FROM slaq.sla_notifications ORDER BY created_at, type DESC")}
    assert notices["warning"]["category"] == "sla" and notices["warning"]["link"] == "https://acme.test/t1"
    assert "T-1" in notices["error"]["title"] and "Printer" in notices["error"]["message"]


def test_jobs_for_mail_and_for_the_application(desk: Desk) -> None:
    desk.forget_jobs()
    desk.sync_ticket(ticket())
    desk.at("Mon 10:10").sync_ticket(ticket())
    rows = desk.sql("SELECT crossing_id::text AS id, kind FROM slaq.sla_crossings")
    events = desk.jobs("sla-threshold-reached")
    assert {event["data"]["event_id"] for event in events} == {row["id"] for row in rows if row["kind"] != "breach"}
    assert len(events) == 7
    assert {event["queue_name"] for event in events} == {"sla-threshold-reached"}
    first = next(event["data"] for event in events if event["data"]["percent"] == 50)
    assert (first["phase"], first["kind"], first["level"], first["ticket_id"]) == ("response", "threshold", None, "t1")
    assert first["tenant"] == desk.tenant and instant("Mon 09:30").isoformat() == first["crossed_at"].replace(
        "Z", "+00:00"
    )
    deliveries = desk.sql("SELECT delivery_id::text AS id, status, template FROM slaq.sla_deliveries")
    assert sorted(emails(desk)) == sorted(row["id"] for row in deliveries)
    assert {row["status"] for row in deliveries} == {"pending"}
    assert {row["template"] for row in deliveries} == {"sla-warning", "sla-breach", "sla-escalation"}


def test_the_view_of_what_was_sent(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:46").sync_ticket(ticket())
    sent = desk.sql(
        "SELECT ticket_id, phase, threshold_percent FROM slaq.sla_notifications_sent ORDER BY threshold_percent"
    )
    assert [(row["phase"], row["threshold_percent"]) for row in sent] == [("response", 50), ("response", 75)]


@pytest.mark.parametrize(
    ("change", "fields", "told"),
    [
        ("SELECT 1", {"assigned_to": None}, ["eve1 70", "bob 75"]),
        ("SELECT 1", {"assigned_to": "bob"}, ["bob 50", "eve1 70", "bob 75"]),
        ("SELECT 1", {"assigned_to": "eve1"}, ["eve1 50", "eve1 70", "bob 75", "eve1 75"]),
        ("SELECT 1", {"assigned_to": "ida"}, ["eve1 70", "bob 75"]),
        ("SELECT 1", {"board_id": "lost"}, ["ann 50", "ann 75"]),
        ("SELECT 1", {"board_id": None}, ["ann 50", "ann 75"]),
        ("DELETE FROM slaq.users WHERE user_id = 'eve1'", {}, ["ann 50", "ann 75", "bob 75"]),
        ("UPDATE slaq.users SET is_active = false WHERE user_id IN ('bob', 'eve1')", {}, ["ann 50", "ann 75"]),
        ("UPDATE slaq.sla_notification_thresholds SET notify_assignee = false", {}, ["eve1 70", "bob 75"]),
        ("UPDATE slaq.sla_notification_thresholds SET channels = '{}'", {}, ["eve1 70"]),
        ("DELETE FROM slaq.sla_notification_thresholds", {}, ["eve1 70"]),
        ("UPDATE slaq.escalation_managers SET notify_via = '{}'", {}, ["ann 50", "ann 75", "bob 75"]),
        ("UPDATE slaq.sla_policy_targets SET escalation_1_percent = NULL", {}, ["ann 50", "ann 75", "bob 75"]),
    ],
)  # fmt: skip
def test_who_is_told(desk: Desk, change: str, fields: dict[str, Any], told: list[str]) -> None:
    desk.sql(change)
    desk.sync_ticket(ticket(**fields))
    desk.at("Mon 09:50").get_sla_status("t1")
    desk.sync_ticket(ticket(**fields))
    assert desk.inbox() == told
    if "escalation_1_percent" not in change:
        assert "response level 1 Mon 09:42" in desk.crossings()
        assert desk.row()["escalation_level"] == 1
    log = [entry for entry in desk.log() if entry["event_type"] == "ticket_escalated"]
    assert all(("recipients" in entry["event_data"]) for entry in log)


def test_each_person_once_in_whatever_roles(desk: Desk) -> None:
    desk.sql("UPDATE slaq.boards SET manager_user_id = 'ann'")
    desk.sql("UPDATE slaq.escalation_managers SET manager_user_id = 'ann'")
    desk.sync_ticket(ticket())
    desk.at("Mon 10:01").sync_ticket(ticket())
    assert desk.inbox() == ["ann 50", "ann 70", "ann 75", "ann 90", "ann 100"]


def test_the_channels_are_those_of_the_time_of_telling_of_the_manager(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.sql(
        "UPDATE slaq.escalation_managers SET notify_via = '{email}', manager_user_id = 'bob' WHERE escalation_level = 1"
    )
    desk.at("Mon 09:43").sync_ticket(ticket())
    assert (desk.inbox(), desk.mail()) == (["ann 50"], ["bob 70"])


def test_a_voided_crossing_that_comes_back_is_not_told_again(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:50").handle_priority_change("t1", "normal")
    assert "response 75% Mon 09:45 voided" in desk.crossings()
    assert desk.row()["escalation_level"] is None and desk.row()["escalated"] is False
    assert desk.row()["escalated_at"] is None
    inbox, jobs = desk.inbox(), len(desk.jobs())
    desk.at("Mon 09:52").handle_priority_change("t1", "high")
    assert "response 75% Mon 09:45" in desk.crossings()
    assert (desk.inbox(), len(desk.jobs())) == (inbox, jobs)
    assert desk.row()["escalation_level"] == 1
    desk.assert_as_expected()
    desk.at("Mon 12:00").sync_ticket(ticket())
    desk.assert_as_expected()


def test_the_level_is_the_highest_live_one(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:43").sync_ticket(ticket())
    assert (desk.row()["escalation_level"], desk.row()["escalated_at"]) == (1, "Mon 09:43")
    desk.at("Mon 09:55").record_first_response("t1")
    assert (desk.row()["escalation_level"], desk.row()["escalated_at"]) == (2, "Mon 09:55")
    desk.at("Mon 11:49").sync_ticket(ticket())  # level 1 of the other phase takes nothing away
    assert (desk.row()["escalation_level"], desk.row()["escalated_at"]) == (2, "Mon 09:55")
    levels = [text for text in desk.crossings() if "level" in text]
    assert levels == ["response level 1 Mon 09:42", "response level 2 Mon 09:54", "resolution level 1 Mon 11:48"]


def test_the_timer_writes_the_same_rows_as_a_change(lone_desk: Desk, app_conn: Any) -> None:
    lone_desk.sync_ticket(ticket("t1"))
    lone_desk.sync_ticket(ticket("t2"))
    lone_desk.at("Tue 12:00").sync_ticket(ticket("t2"))
    done = sweep(lone_desk.dsn)
    assert (done.settled, done.failed) == (1, 0)
    assert lone_desk.crossings("t1") == lone_desk.crossings("t2")
    assert lone_desk.inbox("t1") == lone_desk.inbox("t2")
    assert sorted(lone_desk.mail("t1")) == sorted(lone_desk.mail("t2"))
    told = ("sla_breach", "ticket_escalated", "notification_sent")
    one, two = ([e for e in lone_desk.audit(t) if e in told] for t in ("t1", "t2"))
    assert one == two
    by = lone_desk.sql("SELECT DISTINCT ticket_id, claimed_by FROM slaq.sla_crossings ORDER BY ticket_id")
    assert [(row["ticket_id"], row["claimed_by"]) for row in by] == [("t1", "polling"), ("t2", "application")]
    one, two = ({k: v for k, v in lone_desk.row(t).items() if k.startswith("sla_")} for t in ("t1", "t2"))
    assert one == two
    assert sweep(lone_desk.dsn).leased == 0


def test_a_crossing_is_claimed_once_whoever_claims_it(lone_desk: Desk) -> None:
    """Two timers that computed the same settling: the unique key decides, and the second one tells nobody."""
    lone_desk.sync_ticket(ticket())
    state = lone_desk.state()
    settlement = settle(state.facts, state.records, instant("Mon 09:35"))
    document = settlement_document(state, settlement, instant("Mon 09:35"), "polling")
    lone_desk.forget_jobs()
    for _ in range(2):
        version = lone_desk.alarm()["version"]
        rows = lone_desk.sql(
            "SELECT slaq.settle_ticket(%s, 't1', %s, %s::jsonb) AS outcome", lone_desk.tenant, version, document
        )
        assert rows == [{"outcome": "settled"}]
    assert (lone_desk.crossings(), lone_desk.inbox(), len(lone_desk.jobs())) == (
        ["response 50% Mon 09:30"],
        ["ann 50"],
        1,
    )
    assert lone_desk.audit() == ["sla_started", "notification_sent"]


def test_a_mail_that_was_dropped_with_its_crossing_goes_out_when_that_comes_back(desk: Desk) -> None:
    desk.sync_ticket(ticket())
    desk.at("Mon 09:56").sync_ticket(ticket())
    assert "response 90% Mon 09:54" in desk.crossings()
    desk.at("Mon 09:57").sync_ticket(ticket(priority_id="normal"))
    assert "response 90% Mon 09:54 voided" in desk.crossings()
    desk.sql("UPDATE slaq.sla_deliveries SET status = 'dropped', attempts = 1 WHERE user_id = 'ann'")
    desk.sql("UPDATE slaq.sla_deliveries SET status = 'sent' WHERE user_id <> 'ann'")
    desk.forget_jobs()
    before = desk.inbox(), desk.mail()
    desk.at("Mon 09:58").sync_ticket(ticket())
    assert "response 90% Mon 09:54" in desk.crossings()
    assert (desk.inbox(), desk.mail()) == before, "nothing is told anew"
    waiting = desk.sql("SELECT delivery_id::text AS id FROM slaq.sla_deliveries WHERE status = 'pending'")
    assert [row["id"] for row in waiting] == emails(desk)
    assert len(waiting) == 1
