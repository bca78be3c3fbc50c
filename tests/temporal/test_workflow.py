"""The workflow by itself, on the server that skips time; with the workflow cache and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner

from slaq.temporal.client import task_queue
from slaq.temporal.messages import (
    WORKFLOW,
    Snapshot,
    TicketRef,
    WorkflowInput,
)
from slaq.temporal.settling import Settler

from .world import START, World, eventually


@pytest.fixture(params=[1000, 0], ids=["cached", "replayed"])
def cached(request: pytest.FixtureRequest) -> int:
    """How many runs a worker keeps. Everything is shown twice: without any, each task replays the history so far."""
    return request.param


@pytest.fixture
async def world(idle_world: World, cached: int) -> AsyncIterator[World]:
    async with idle_world.worker(max_cached_workflows=cached):
        yield idle_world


async def test_get_state_gives_absolute_instants(world: World) -> None:
    await world.open()
    await world.after(60)
    state = await world.state()
    assert (state.status, state.snapshot.phase) == ("running", "response")
    assert state.snapshot.notified == ["response threshold 50"]
    assert state.snapshot.response_due_at == START + timedelta(minutes=100)
    assert state.sleeping_until == START + timedelta(minutes=70)


async def test_get_state_follows_a_ticket_through_its_phases(world: World) -> None:
    await world.open()
    await world.after(20)
    await world.verb("pause_sla")
    state = await eventually(lambda: _state_with(world, "paused"))
    assert (state.snapshot.paused_at, state.snapshot.pause_reason) == (START + timedelta(minutes=20), "manual")
    assert state.snapshot.at == START + timedelta(minutes=20), "when it happened, not when it was sent"
    assert state.sleeping_until is None, "no timer"
    await world.after(30)
    await world.verb("resume_sla")
    await world.verb("record_first_response")
    state = await eventually(lambda: _state_with(world, "running"))
    assert (state.snapshot.phase, state.snapshot.response_met) == ("resolution", True)
    assert state.snapshot.response_at == START + timedelta(minutes=50)
    assert state.snapshot.resolution_due_at == START + timedelta(minutes=430)
    await world.after(60)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    state = await world.state()
    assert (state.status, state.snapshot.phase, state.snapshot.resolution_met) == ("over", "finished", True)


async def test_signals_sent_by_hand_make_it_ask_and_change_nothing(world: World) -> None:
    await world.open()
    for name in ("pause", "resume", "completeResponse", "completeResolution", "cancel", "refresh"):
        await world.handle().signal(name)
    await world.after(51)
    assert await world.is_running()
    assert await world.crossings() == ["response threshold 50 @50"]


async def test_a_late_or_repeated_signal_is_ignored(world: World) -> None:
    await world.open()
    await world.after(10)
    await world.verb("pause_sla")
    await world.verb("resume_sla")
    fresh = await eventually(lambda: _resumed(world))
    old = Snapshot(version=1, paused_at=START, is_over=False)
    await world.handle().signal("pause", old)
    await world.handle().signal("completeResolution", Snapshot(version=0, is_over=True))
    assert (await world.state()).snapshot == fresh.snapshot
    await world.after(41)
    assert await world.crossings() == ["response threshold 50 @50"]


@pytest.mark.parametrize(
    ("verb", "arguments", "status", "told"),
    [
        ("record_resolution", (), "over", []),
        ("delete_ticket", (), "over", []),
        ("cancel_sla", (), "over", []),
        ("pause_sla", (), "paused", []),
        ("handle_priority_change", ("low",), "running", ["response threshold 50 @120"]),
    ],
)
async def test_a_lost_signal_is_noticed_at_the_next_wake(world: World, verb, arguments, status, told) -> None:
    await world.open()
    await world.after(10)
    await world.verb(verb, "T1", *arguments, is_dispatched=False)
    await world.lose_outbox()
    assert (await world.state()).status == "running", "it knows nothing"
    assert world.env is not None
    await world.env.sleep(timedelta(minutes=45))
    await eventually(lambda: _state_with(world, status))
    await world.env.sleep(timedelta(minutes=70))
    await eventually(lambda: _has_crossings(world, told))
    assert await world.is_running() is (status != "over")


async def test_a_run_started_without_a_ticket_ends_quietly(world: World) -> None:
    handle = await world.client.start_workflow(
        WORKFLOW, WorkflowInput(TicketRef("acme", "nobody")), id="stray", task_queue=task_queue()
    )
    assert await handle.result() == "gone"


async def test_a_duplicate_start_is_no_error(world: World) -> None:
    await world.open()
    run = (await world.handle().describe()).run_id
    await world.rows("SELECT slaq.request_run('acme', 'T1', false, false, clock_timestamp())")
    await world.rows("SELECT set_config('slaq.tenant', 'acme', false), slaq.put_into_outbox("
                     "'acme', 'T1', 'sla-ticket-acme-T1', 1, 'start', false, clock_timestamp())")  # fmt: skip
    await world.dispatch()
    assert (await world.handle().describe()).run_id == run
    assert await world.outbox() == 0


async def test_cancelling_in_the_web_ui_ends_the_run(world: World) -> None:
    await world.open()
    await world.handle().cancel()
    with pytest.raises(WorkflowFailureError):
        await world.handle().result()


async def test_many_pauses_go_on_in_a_new_run_before_the_history_is_long(
    idle_world: World, monkeypatch, cached: int
) -> None:
    world = idle_world
    monkeypatch.setattr("slaq.temporal.workflow.LONGEST_HISTORY", 40)
    unsandboxed = UnsandboxedWorkflowRunner()  # the sandbox would not see the patch
    async with world.worker(workflow_runner=unsandboxed, max_cached_workflows=cached):
        await world.open()
        first = (await world.handle().describe()).run_id
        for _ in range(12):
            await world.after(1)
            await world.verb("pause_sla")
            await world.after(1)
            await world.verb("resume_sla")
        assert len(await world.events()) < 60
        await world.until(START + timedelta(minutes=63))
        assert (await world.handle().describe()).run_id != first
        assert await world.crossings() == ["response threshold 50 @62"]


async def test_a_life_with_a_pause(world: World) -> None:
    await world.open()
    await world.after(40)
    await world.verb("pause_sla")
    await world.after(10)
    await world.verb("resume_sla")
    await world.after(80)
    await world.verb("record_first_response")
    await world.after(200)
    await world.verb("record_resolution")
    await eventually(world.has_ended)
    assert await world.crossings() == [
        "response threshold 50 @60", "response escalation 70 @80", "response threshold 75 @85", "response escalation 90 @100",
        "response threshold 90 @100", "response breach 100 @110", "response threshold 100 @110", "response escalation 110 @120",
        "resolution threshold 50 @210", "resolution escalation 70 @290", "resolution threshold 75 @310",
    ]  # fmt: skip


async def test_with_nothing_left_to_cross_it_waits_as_long_as_the_ticket_is_open(world: World) -> None:
    await world.open()
    await world.until(START + timedelta(days=1))
    assert len(await world.crossings()) == 16
    before = await world.events()
    assert (await world.state()).sleeping_until is None
    await world.until(START + timedelta(days=14))
    assert await world.events() == before, "and costs nothing"
    await world.verb("handle_policy_change", "T1", "plain")
    await world.until(START + timedelta(days=15))
    assert await world.is_running(), "a new promise finds it"
    await world.verb("record_resolution")
    await eventually(world.has_ended)


async def test_a_wake_that_stays_due_does_not_fill_the_history(idle_world: World) -> None:
    world = idle_world

    async def five_minutes_behind(now: datetime) -> datetime:
        return await world.read_clock(now) - timedelta(minutes=5)

    world.settler = Settler(world.pool, "slaq", five_minutes_behind)
    async with world.worker():
        await world.open()
        assert world.env is not None
        await world.env.sleep(timedelta(minutes=54))
        assert await world.crossings() == [], "the database's clock decides"
        await world.env.sleep(timedelta(minutes=3))
        await eventually(lambda: world.has_told("response threshold 50 @50"))
        scheduled = (await world.events()).count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        assert 3 <= scheduled <= 12, "it looked again, less and less often"


async def test_a_defect_of_an_activity_puts_a_wake_off_and_gives_up_no_ticket(world: World, monkeypatch) -> None:
    await world.open()
    settle = Settler.settle

    async def broken(self, ticket, wanted=None):
        raise ApplicationError("a defect", non_retryable=True)

    monkeypatch.setattr(Settler, "settle", broken)
    assert world.env is not None
    await world.env.sleep(timedelta(minutes=65))
    assert (await eventually(world.state)).failed_wakes >= 2
    monkeypatch.setattr(Settler, "settle", settle)
    await world.after(69)
    assert await world.crossings() == ["response threshold 50 @50"]
    assert await world.is_running()


async def test_nothing_personal_is_in_what_temporal_keeps(world: World) -> None:
    """Ids, instants and percentages alone; the number and the policy stand in the memo."""
    await world.open(
        title="The printer of Ada Lovelace", ticket_number="N-17", url="https://desk.example/17", client_id=None
    )
    await world.after(60)
    await world.verb("pause_sla", "T1", actor="boss")
    await world.verb("resume_sla", "T1", actor="boss")
    await world.after(200)
    await world.verb("record_resolution", "T1", actor="boss")
    await eventually(world.has_ended)
    kept = b"".join(event.SerializeToString() for event in (await world.handle().fetch_history()).events)
    assert b"response threshold 50" in kept and b"N-17" in kept, "it can be read"
    for personal in (b"Ada", b'"ada"', b"boss", b"printer", b"desk.example", b"acme.example"):
        assert personal not in kept, personal


@pytest.mark.parametrize("is_told", [True, False], ids=["after its end", "before its end was told"])
async def test_a_ticket_entered_under_the_id_of_a_deleted_one_gets_a_run_of_its_own(
    world: World, *, is_told: bool
) -> None:
    await world.open()
    old = (await world.handle().describe()).run_id
    await world.after(30)
    await world.do(lambda service, conn: service.delete_ticket(conn, "T1"), dispatch=is_told)
    if is_told:
        await eventually(world.has_ended)
    await world.after(10)
    await world.open()
    assert (await world.handle().describe()).run_id != old
    await world.after(51)
    assert await world.crossings() == ["response threshold 50 @90"], "from its own start"
    assert await world.is_running()


async def _state_with(world: World, status: str):
    state = await world.state()
    return state if state.status == status else None


async def _has_crossings(world: World, wanted: list[str]) -> bool:
    return await world.crossings() == wanted


async def _resumed(world: World):
    state = await world.state()
    return state if state.status == "running" and state.snapshot.version >= 3 else None
