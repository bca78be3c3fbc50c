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


async def test_criteria_2_3_4_each_threshold_and_level_at_its_business_instant(world: World) -> None:
    await world.open()
    await world.after(190)
    assert await world.crossings() == HIGH
    assert await world.claimed_by() == {"temporal"}
    rows = await world.rows(
        "SELECT max(extract(epoch FROM noticed_at - crossed_at)), min(noticed_at - crossed_at) FROM sla_crossings"
    )
    assert rows[0][0] < 2, "to the second"
    assert rows[0][1] >= timedelta(), "never early"
    told = await world.rows("SELECT count(*) FROM sla_notifications WHERE user_id = 'ada'")
    assert told[0][0] == 4, "the assignee hears of 50, 75, 90 and 100 %"
    managers = await world.rows(
        "SELECT DISTINCT user_id FROM sla_notifications WHERE user_id IN ('one', 'two', 'three')"
    )
    assert len(managers) == 3


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
