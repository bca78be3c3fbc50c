"""The defects of the system that the requirements come from, by number: each test shows the right behaviour."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from slaq.clock import FixedClock
from slaq.services.ticket import Ticket

from .ways import PunctualTimer
from .world import START, World, eventually


async def test_f07_a_pause_in_every_gap_loses_no_threshold(world: World) -> None:
    await world.open()
    for minute in (40, 20, 18, 15):
        await world.after(minute)
        await world.verb("pause_sla")
        await world.after(1)
        await world.verb("resume_sla")
    await world.after(60)
    assert await world.crossings() == [
        "response threshold 50 @51", "response escalation 70 @72", "response threshold 75 @77", "response escalation 90 @93",
        "response threshold 90 @93", "response breach 100 @104", "response threshold 100 @104", "response escalation 110 @114",
    ]  # fmt: skip
    assert await world.claimed_by() == {"temporal"}


async def test_f07_a_pause_before_the_breach_does_not_end_tracking(world: World) -> None:
    await world.open()
    await world.after(95)
    await world.verb("pause_sla")
    await world.after(60)
    assert await world.is_running()
    await world.verb("resume_sla")
    await world.after(6)
    assert "response breach 100 @160" in await world.crossings()


async def test_f08_a_retarget_keeps_the_original_start_and_the_pause(world: World) -> None:
    await world.open()
    await world.after(60)
    await world.verb("pause_sla")
    await world.after(10)
    await world.verb("handle_priority_change", "T1", "low")
    await world.after(300)
    assert await world.crossings() == ["response threshold 50 @50 voided"], "nothing while it is paused"
    await world.verb("resume_sla")
    await world.after(61)
    status = await world.verb("get_sla_status")
    assert status.response.due_at == START + timedelta(minutes=240 + 310) + timedelta(hours=16), (
        "Monday 09:00 still counts"
    )
    assert "response threshold 50 @430" in await world.crossings()


async def test_f09_a_policy_change_replaces_the_run_in_one_step(world: World) -> None:
    await world.open()
    first = (await world.handle().describe()).run_id
    await world.after(10)
    await world.verb("handle_policy_change", "T1", "plain")
    described = await world.handle().describe()
    assert described.run_id != first
    assert described.status is not None
    assert described.status.name == "RUNNING"
    await world.after(152)
    assert await world.crossings() == ["response threshold 80 @160"]
    assert await world.claimed_by() == {"temporal"}


async def test_f09_a_priority_change_refreshes_the_run(world: World) -> None:
    await world.open()
    first = (await world.handle().describe()).run_id
    await world.after(10)
    await world.verb("handle_priority_change", "T1", "low")
    assert (await world.handle().describe()).run_id == first
    await world.after(111)
    assert await world.crossings() == ["response threshold 50 @120"]


async def test_f11_resolution_thresholds_do_not_wait_for_the_response(world: World) -> None:
    await world.open()
    await world.after(210)
    crossings = await world.crossings()
    assert "resolution threshold 50 @200" in crossings, "although nobody answered"
    rows = await world.rows("SELECT noticed_at - crossed_at FROM sla_crossings WHERE phase = 'resolution'")
    assert rows[0][0] < timedelta(seconds=2)


async def test_f12_a_paused_week_adds_no_event(world: World) -> None:
    await world.open()
    await world.after(10)
    await world.verb("pause_sla")
    before = await eventually(lambda: _events_after_signal(world, 1))
    await world.after(7 * 24 * 60)
    assert len(await world.events()) == before


async def test_f13_nothing_is_lost_between_commit_and_dispatch(idle_world: World) -> None:
    world = idle_world
    ticket = Ticket(ticket_id="T1", entered_at=world.clock.now, priority_id="high", board_id="desk", assigned_to="ada")
    await world.do(lambda service, conn: service.sync_ticket(conn, ticket), dispatch=False)
    assert await world.outbox() == 1, "the dispatcher may die here"
    async with world.worker():
        await world.dispatch()
        assert await world.outbox() == 0
        await world.after(51)
        assert await world.crossings() == ["response threshold 50 @50"]


async def test_f13_a_rolled_back_transaction_tells_nobody(world: World) -> None:
    ticket = Ticket(ticket_id="T1", entered_at=world.clock.now, priority_id="high")

    async def act(service, conn):
        await service.sync_ticket(conn, ticket)
        raise LookupError

    with pytest.raises(LookupError):
        await world.do(act)
    assert await world.outbox() == 0


async def test_f13_a_change_during_sending_is_sent_again(world: World) -> None:
    await world.open()
    await world.do(lambda service, conn: service.pause_sla(conn, "T1"), dispatch=False)
    leased = await world.rows("SELECT slaq.lease_outbox(10, clock_timestamp(), interval '30 seconds')")
    assert len(leased) == 1
    await world.do(lambda service, conn: service.resume_sla(conn, "T1"), dispatch=False)
    version = (await world.rows("SELECT version FROM sla_outbox"))[0][0]
    await world.rows(f'SELECT slaq.acknowledge_outbox(\'[["acme", "T1", {version - 1}, false]]\', clock_timestamp())')
    assert await world.outbox() == 1, "only what was sent is deleted"
    await world.dispatch()
    assert await world.outbox() == 0
    assert (await world.state()).status == "running"


async def test_f14_falling_back_is_asked_anew_for_every_ticket(world: World, caplog) -> None:
    for number, is_up in enumerate((True, False, False, True, False)):
        await world.vouch(is_up=is_up)
        status = await world.open(f"T{number}")
        assert status.backend == ("temporal" if is_up else "polling")
    warnings = [r.message for r in caplog.records if r.name == "slaq"]
    assert [("vouches" in w, "back" in w) for w in warnings] == [(True, False), (False, True), (True, False)]


async def test_f15_the_poller_watches_every_ticket_and_temporals_after_a_grace(world: World) -> None:
    await world.open("T1")
    await world.vouch(is_up=False)
    await world.open("T2")

    async def leased(seconds: int) -> list[str]:
        now = START + timedelta(minutes=50, seconds=seconds)
        rows = await world.rows(
            "SELECT l::jsonb ->> 'ticket_id' FROM slaq.lease_due(100, %s, interval '1 s', interval '60 s') l", now
        )
        return sorted(row[0] for row in rows)

    assert await leased(30) == ["T2"], "its own at once"
    assert await leased(70) == ["T1", "T2"], "Temporal's when overdue"


async def test_f15_what_the_poller_does_in_temporals_place_is_counted_and_logged(idle_world: World, caplog) -> None:
    world = idle_world
    await world.open("T1")  # and no worker runs its workflow
    timer = PunctualTimer(world.pool, "slaq")
    timer.clock = FixedClock(START + timedelta(minutes=50, seconds=59))
    assert (await timer.run_pass()).leased == 0, "within the grace"
    timer.clock.now += timedelta(seconds=2)
    done = await timer.run_pass()
    assert (done.settled, done.told, done.rescued) == (1, 1, 1)
    assert await world.claimed_by() == {"polling"}
    assert "ticket T1 of tenant acme is Temporal's, but was overdue: told by the poller" in caplog.text


async def test_f24_a_restart_keeps_the_configured_thresholds(world: World) -> None:
    await world.open(priority="high")
    await world.after(5)
    await world.verb("handle_policy_change", "T1", "plain")
    await world.after(240)
    assert [c.split("@")[0] for c in await world.crossings() if "response" in c] == [
        "response threshold 80 ", "response threshold 95 ", "response breach 100 ", "response threshold 120 ",
    ]  # fmt: skip


async def test_f25_a_restart_on_an_answered_ticket_keeps_the_answer(world: World) -> None:
    await world.open()
    await world.after(5)
    await world.verb("record_first_response")
    await world.after(55)
    await world.verb("handle_policy_change", "T1", "plain")
    await world.after(300)
    status = await world.verb("get_sla_status")
    assert status.response.state == "met"
    assert not [c for c in await world.crossings() if c.startswith("response")]
    assert (await world.state()).snapshot.phase == "resolution"


async def test_f27_an_outage_of_postgres_delays_a_crossing_and_nothing_else(world: World, superuser_dsn) -> None:
    await world.open()
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE slaq.sla_audit_log RENAME TO broken")
        assert world.env is not None
        await world.env.sleep(timedelta(hours=2))
        assert await world.is_running()
        conn.execute("ALTER TABLE slaq.broken RENAME TO sla_audit_log")
    await world.until(START + timedelta(minutes=190))
    assert len(await world.crossings()) == 8
    assert await world.is_running()


async def test_f28_completing_is_written_before_it_is_signalled(world: World) -> None:
    await world.open()
    await world.after(10)
    await world.verb("record_first_response")
    for _ in range(3):
        await world.handle().signal("completeResponse")
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    rows = await world.rows("SELECT event_type FROM sla_audit_log WHERE event_type LIKE '%%recorded' ORDER BY log_id")
    assert rows == [("response_recorded",), ("resolution_recorded",)], "once each, however often it is signalled"


async def test_f29_signals_processed_together_keep_their_instants(idle_world: World) -> None:
    world = idle_world
    await world.open()
    world.clock.now = START + timedelta(minutes=10)
    await world.verb("pause_sla")
    world.clock.now = START + timedelta(minutes=40)
    await world.verb("resume_sla")
    async with world.worker():  # sees all of it at one instant
        await world.until(START + timedelta(minutes=81))
        assert await world.crossings() == ["response threshold 50 @80"], "the pause counted its 30 minutes"


async def test_f37_a_threshold_above_a_hundred_per_cent_is_told(world: World) -> None:
    await world.open()
    await world.after(5)
    await world.verb("handle_policy_change", "T1", "plain")
    await world.after(237)
    assert "response threshold 120 @240" in await world.crossings()
    events = await world.rows(
        "SELECT args -> 'data' ->> 'percent' FROM procrastinate_jobs WHERE queue_name = 'sla-threshold-reached'"
    )
    assert ("120",) in events


async def test_f43_one_shape_of_status_for_both_backends(world: World) -> None:
    temporal = await world.open("T1")
    await world.vouch(is_up=False)
    polled = await world.open("T2")
    assert type(temporal) is type(polled)
    assert (temporal.backend, polled.backend) == ("temporal", "polling")
    assert temporal.response == polled.response
    assert temporal.resolution == polled.resolution


async def test_f45_every_save_reaches_the_workflow_and_so_does_a_deletion(world: World) -> None:
    await world.open()
    await world.after(10)
    both = Ticket(
        ticket_id="T1", entered_at=START, priority_id="low", board_id="desk", assigned_to="boss", status_id="hold"
    )
    await world.do(lambda service, conn: service.sync_ticket(conn, both))
    state = await eventually(lambda: _paused(world))
    assert state.snapshot.pause_reason == "status"
    await world.verb("delete_ticket")
    await eventually(world.has_ended)
    assert await world.rows("SELECT 1 FROM sla_workflows") == []
    assert await world.outbox() == 0


async def test_f57_the_same_ticket_id_in_two_tenants_is_two_tickets(world: World) -> None:
    from .world import DESK

    await world.configure(DESK.replace("acme", "apex"))
    await world.open()
    world.tenant = "apex"
    await world.open()
    await world.after(10)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    world.tenant = "acme"
    assert await world.is_running()
    await world.after(41)
    assert await world.crossings() == ["response threshold 50 @50"]
    assert await world.crossings(tenant="apex") == []


async def test_f57_a_workflow_id_taken_by_another_tenant_goes_to_the_poller(world: World, caplog) -> None:
    from .world import DESK

    await world.configure(DESK.replace("acme", "acme-T1"))
    assert (await world.open("T1-T2")).backend == "temporal"
    world.tenant = "acme-T1"
    assert (await world.open("T2")).backend == "polling"
    assert "another ticket has its workflow id" in caplog.text


async def test_f58_a_ticket_open_for_years_is_still_watched(world: World) -> None:
    await world.open()
    await world.after(20)
    await world.verb("pause_sla")
    await world.until(START + timedelta(days=728, minutes=60))  # a Monday again
    await world.verb("resume_sla")
    await world.after(31)
    assert len(await world.crossings()) == 1
    await world.after(60 * 24 * 7)
    assert await world.is_running(), "after the last crossing it waits as long as the ticket is open"
    await world.verb("record_resolution")
    await eventually(world.has_ended)


async def test_f61_a_holiday_added_later_reaches_the_running_workflow(world: World) -> None:
    from .world import DESK

    await world.open()
    await world.after(10)
    await world.configure(DESK.replace("hours = { mon-fri", 'holidays = ["2035-01-01"]\nhours = { mon-fri'))
    same = Ticket(
        ticket_id="T1", entered_at=START, priority_id="high", board_id="desk", assigned_to="ada", status_id="new"
    )
    await world.do(lambda service, conn: service.sync_ticket(conn, same))
    await world.until(START + timedelta(days=1, minutes=51))
    assert await world.crossings() == ["response threshold 50 @1490"], "Monday does not count any more"


async def _paused(world: World):
    state = await world.state()
    return state if state.status == "paused" else None


async def _events_after_signal(world: World, signals: int) -> int | None:
    from temporalio.api.enums.v1 import EventType

    history = await world.handle().fetch_history()
    kinds = [event.event_type for event in history.events]
    seen = kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
    is_idle = kinds[-1] == EventType.EVENT_TYPE_TIMER_CANCELED
    return len(kinds) if seen == signals and is_idle else None
