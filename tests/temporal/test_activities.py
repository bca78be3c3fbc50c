"""The activities by themselves, without a workflow: the five of the requirements, and the one that the workflow runs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from temporalio.activity import _Definition
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from slaq.services.ticket import Ticket
from slaq.temporal.activities import SlaActivities
from slaq.temporal.messages import AuditInput, ThresholdInput, TicketRef, WakeTimeInput

from .world import START, World

TICKET = TicketRef("acme", "T1")
OFFICE = {"timezone": "UTC", "entries": [[day, "09:00", "17:00"] for day in range(1, 6)], "holidays": []}


@pytest.fixture
async def activities(idle_world: World) -> SlaActivities:
    same = Ticket(ticket_id="T1", entered_at=START, priority_id="high", board_id="desk", assigned_to="ada")
    await idle_world.do(lambda service, conn: service.sync_ticket(conn, same), dispatch=False)  # no run in the way
    return SlaActivities(idle_world.settler)


async def test_names(activities: SlaActivities) -> None:
    names = {_Definition.must_from_callable(function).name for function in activities.all}
    assert names == {"advanceSla", "calculateNextWakeTime", "sendSlaNotification", "checkAndEscalate", "updateSlaStatus",
                     "recordSlaAuditLog"}  # fmt: skip


@pytest.mark.parametrize(
    ("start", "target", "paused", "due"),
    [
        ("2035-01-01T09:00+00:00", 60, 0, "2035-01-01T10:00+00:00"),
        ("2035-01-01T16:30+00:00", 60, 0, "2035-01-02T09:30+00:00"),
        ("2035-01-06T12:00+00:00", 60, 0, "2035-01-08T10:00+00:00"),
        ("2035-01-01T09:00+00:00", 450, 60, "2035-01-02T09:30+00:00"),
        ("2035-01-01T07:00+00:00", 0, 0, "2035-01-01T07:00+00:00"),
    ],
    ids=["open", "over night", "starts closed", "pause minutes are open minutes", "no target is due at the start"],
)
async def test_calculate_next_wake_time(activities: SlaActivities, start, target, paused, due) -> None:
    given = WakeTimeInput(datetime.fromisoformat(start), target, OFFICE, paused)
    wake = await ActivityEnvironment().run(activities.calculate_next_wake_time, given)
    assert wake == datetime.fromisoformat(due)


@pytest.mark.parametrize(
    ("holidays", "target", "due"),
    [([], 7 * 60, "2035-03-25T04:00+00:00"), ([["2035-03-24", False, "Fair"]], 5 * 60, "2035-03-25T04:00+00:00")],
    ids=["an hour is left out", "a holiday takes the evening"],
)
async def test_calculate_next_wake_time_in_a_night_in_which_the_clocks_go_forward(
    activities: SlaActivities, holidays, target, due
) -> None:
    night = {"timezone": "Europe/Berlin", "entries": [[6, "22:00", "06:00"]], "holidays": holidays}
    given = WakeTimeInput(datetime.fromisoformat("2035-03-23T12:00+00:00"), target, night)
    wake = await ActivityEnvironment().run(activities.calculate_next_wake_time, given)
    assert wake == datetime.fromisoformat(due)


async def test_calculate_next_wake_time_without_a_schedule_is_around_the_clock(activities: SlaActivities) -> None:
    given = WakeTimeInput(datetime.fromisoformat("2035-01-06T23:00+00:00"), 120, None, 30)
    wake = await ActivityEnvironment().run(activities.calculate_next_wake_time, given)
    assert wake == datetime.fromisoformat("2035-01-07T01:30+00:00")


async def test_a_wake_time_that_there_is_not_is_no_reason_to_try_again(activities: SlaActivities) -> None:
    for schedule in ({"timezone": "UTC", "entries": [], "holidays": []}, {"timezone": "Mars"}):
        with pytest.raises(ApplicationError, match="no wake time") as caught:
            await ActivityEnvironment().run(activities.calculate_next_wake_time, WakeTimeInput(START, 60, schedule))
        assert caught.value.non_retryable


async def test_each_does_its_part_once(activities: SlaActivities, idle_world: World) -> None:
    world, run = idle_world, ActivityEnvironment().run
    assert world.env is not None
    await world.env.sleep(timedelta(minutes=111))
    fifty = ThresholdInput(TICKET, "response", 50)
    assert (await run(activities.send_sla_notification, fifty)).told == ["response threshold 50"]
    assert (await run(activities.send_sla_notification, fifty)).told == []
    assert (await run(activities.check_and_escalate, TICKET)).told == [
        "response escalation 70", "response escalation 90", "response escalation 110"]  # fmt: skip
    assert (await run(activities.check_and_escalate, TICKET)).told == []
    assert (await run(activities.update_sla_status, TICKET)).told == ["response breach 100"]
    assert (await world.rows("SELECT sla_response_met, sla_response_at FROM tickets")) == [(False, None)]
    rest = await run(activities.advance, TICKET)
    assert len(rest.notified) == 7
    assert rest.wake_at == START + timedelta(minutes=200)
    assert len(await world.crossings()) == 8


async def test_advancing_twice_tells_nothing_twice(activities: SlaActivities, idle_world: World) -> None:
    world, run = idle_world, ActivityEnvironment().run
    assert world.env is not None
    await world.env.sleep(timedelta(minutes=111))
    first = await run(activities.advance, TICKET)
    assert await run(activities.advance, TICKET) == first
    assert len(await world.crossings()) == 8


async def test_none_of_them_tells_anything_of_a_ticket_that_is_paused_closed_or_gone(
    activities: SlaActivities, idle_world: World
) -> None:
    world, run = idle_world, ActivityEnvironment().run
    assert world.env is not None
    everything = (activities.check_and_escalate, activities.update_sla_status)
    await world.do(lambda service, conn: service.pause_sla(conn, "T1"), dispatch=False)
    await world.env.sleep(timedelta(minutes=111))
    assert [(await run(act, TICKET)).told for act in everything] == [[], []]
    assert (await run(activities.send_sla_notification, ThresholdInput(TICKET, "response", 50))).told == []
    await world.do(lambda service, conn: service.record_resolution(conn, "T1"), dispatch=False)
    assert (await run(activities.advance, TICKET)).is_over
    await world.do(lambda service, conn: service.delete_ticket(conn, "T1"), dispatch=False)
    assert [(await run(act, TICKET)).told for act in everything] == [[], []]
    assert (await run(activities.advance, TICKET)).reason == "gone"


async def test_the_audit_entry_is_written_once(activities: SlaActivities, idle_world: World) -> None:
    given = AuditInput(TICKET, "note", {"why": "asked"})
    run = ActivityEnvironment().run
    assert await run(activities.record_sla_audit_log, given) is True
    assert await run(activities.record_sla_audit_log, given) is False
    assert await run(activities.record_sla_audit_log, AuditInput(TicketRef("acme", "nobody"), "note")) is False
