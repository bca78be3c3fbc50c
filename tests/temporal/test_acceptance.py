"""The acceptance criteria of the requirements, by number."""

from __future__ import annotations

from datetime import timedelta

from .world import START, World, eventually

HIGH = [
    "response threshold 50 @50", "response escalation 70 @70", "response threshold 75 @75", "response escalation 90 @90",
    "response threshold 90 @90", "response breach 100 @100", "response threshold 100 @100", "response escalation 110 @110",
]  # fmt: skip
"""What an unanswered ticket of high priority crosses in its first 120 minutes."""


async def test_criterion_1_enterprise_starts_a_workflow_for_new_tickets_with_a_policy(world: World) -> None:
    status = await world.open()
    assert status.backend == "temporal"
    assert await world.is_running()
    assert await world.outbox() == 0


async def test_criterion_2_the_workflow_wakes_at_business_instants(world: World) -> None:
    """To the second, over the night and over the weekend; never early."""
    await world.until(START + timedelta(days=4, hours=7, minutes=10))  # Friday 16:10
    opened = world.clock.now
    await world.open()
    monday = START + timedelta(days=7)
    await world.until(monday + timedelta(hours=3))
    at = {
        crossing.rpartition(" @")[0]: START + timedelta(minutes=float(crossing.rpartition("@")[2]))
        for crossing in await world.crossings()
    }
    assert at["response threshold 50"] == opened + timedelta(minutes=50), "used up exactly at closing"
    assert at["response threshold 75"] == monday + timedelta(minutes=25)
    assert at["response breach 100"] == monday + timedelta(minutes=50)
    assert at["resolution threshold 50"] == monday + timedelta(minutes=150)
    assert await world.claimed_by() == {"temporal"}
    (late,) = await world.rows("SELECT max(noticed_at - crossed_at), min(noticed_at - crossed_at) FROM sla_crossings")
    assert timedelta() <= late[1] <= late[0] < timedelta(seconds=2), "of skipped time"


async def test_criterion_3_notifications_at_the_configured_thresholds(world: World) -> None:
    await world.open()
    await world.after(190)
    told = await world.rows(
        "SELECT c.percent, c.phase FROM sla_notifications n JOIN sla_crossings c USING (tenant, crossing_id)"
        " WHERE n.user_id = 'ada' ORDER BY 1"
    )
    assert told == [(percent, "response") for percent in (50, 75, 90, 100)]
    events = await world.rows(
        "SELECT (args -> 'data' ->> 'percent')::int FROM procrastinate_jobs WHERE queue_name = 'sla-threshold-reached' ORDER BY 1"
    )
    assert [percent for (percent,) in events] == [50, 70, 75, 90, 90, 100, 110], "the application hears of levels, too"


async def test_criterion_4_escalations_at_their_own_percentages(world: World) -> None:
    await world.open()
    await world.after(190)
    assert await world.crossings() == HIGH
    told = await world.rows(
        "SELECT n.user_id, c.level, c.percent FROM sla_notifications n JOIN sla_crossings c USING (tenant, crossing_id)"
        " WHERE c.kind = 'escalation' ORDER BY c.level"
    )
    assert told == [("one", 1, 70), ("two", 2, 90), ("three", 3, 110)]
    assert await world.rows("SELECT escalated, escalation_level FROM tickets") == [(True, 3)]


async def test_criterion_5_pause_stops_the_timers_and_resume_recalculates(world: World) -> None:
    await world.open()
    await world.after(20)
    await world.verb("pause_sla")
    await eventually(lambda: _is(world, "paused"))
    before = len(await world.events())
    await world.until(START + timedelta(days=1, minutes=20))
    assert await world.crossings() == []
    assert len(await world.events()) == before, "a paused day costs nothing"
    await world.verb("resume_sla")
    await world.after(31)
    assert await world.crossings() == ["response threshold 50 @1490"], "30 minutes after the resume"


async def test_criterion_6_resolution_completes_the_workflow_and_records_the_verdict(world: World) -> None:
    await world.open()
    await world.after(30)
    await world.verb("record_first_response")
    await world.after(30)
    status = await world.verb("record_resolution")
    await eventually(world.has_ended)
    assert await world.handle().result() == "resolved, response met, resolution met"
    assert (status.response.state, status.resolution.state) == ("met", "met")
    assert await world.rows("SELECT sla_response_met, sla_resolution_met FROM tickets") == [(True, True)]


async def test_criterion_6_a_breach_is_recorded_as_well(world: World) -> None:
    await world.open()
    await world.after(130)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    assert await world.handle().result() == "resolved, response missed, resolution met"
    assert await world.rows("SELECT sla_response_met, sla_resolution_met FROM tickets") == [(False, True)]


async def test_criterion_8_polling_steps_in_when_temporal_is_unavailable(world: World, caplog) -> None:
    await world.vouch(is_up=False)
    status = await world.open("T1")
    await world.open("T2")
    assert status.backend == "polling"
    assert len([r for r in caplog.records if "no worker vouches" in r.message]) == 1, "one warning per change of state"
    await world.vouch()
    assert (await world.open("T3")).backend == "temporal"
    assert (await world.verb("get_sla_status", "T1")).backend == "polling", "for good, until an operator adopts it"


async def test_criterion_10_the_whole_life_of_a_ticket(world: World) -> None:
    await world.open()
    await world.after(55)
    await world.verb("handle_status_change", "T1", "hold")
    await world.after(60)
    await world.verb("handle_status_change", "T1", "new")
    await world.after(25)
    await world.verb("record_first_response")
    await world.after(120)
    await world.verb("handle_priority_change", "T1", "low")
    await world.after(60)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    await world.after(60)
    await world.verb("reopen")
    assert await eventually(world.is_running)
    await world.after(600)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    assert await world.crossings() == [
        "response threshold 50 @50", "response escalation 70 @130", "response threshold 75 @135",
        "resolution threshold 50 @260 voided",
    ]  # fmt: skip
    assert await world.outbox() == 0


async def _is(world: World, status: str) -> bool:
    return (await world.state()).status == status
