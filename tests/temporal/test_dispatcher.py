"""The way out of the outbox, on the full server: leased, bounded, put off, repeated, and never lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from temporalio.client import Client, Interceptor, OutboundInterceptor
from temporalio.service import RPCError

from slaq.demo.temporal import TemporalServer
from slaq.jobs.loops import keep_running
from slaq.temporal.client import serves, task_queue
from slaq.temporal.dispatcher import BATCH, LEASE, Dispatcher

from .processes import processes
from .test_outages import open_now
from .world import World, eventually


@attrs.define
class Traffic(Interceptor):
    """The starts of workflows that leave a client: how many of each, and how many at the same time."""

    started: Counter[str] = attrs.field(factory=Counter)
    under_way: int = 0
    most: int = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        traffic = self

        class Counting(OutboundInterceptor):
            async def start_workflow(self, input: Any) -> Any:
                traffic.started[input.id] += 1
                traffic.under_way += 1
                traffic.most = max(traffic.most, traffic.under_way)
                try:
                    return await super().start_workflow(input)
                finally:
                    traffic.under_way -= 1

        return Counting(next)


def dispatcher(world: World, traffic: Traffic) -> Dispatcher:
    config = world.client.config()
    return Dispatcher(world.pool, "slaq", Client(**{**config, "interceptors": [traffic]}), task_queue())


async def test_batches_are_shared_among_dispatchers_and_calls_are_bounded(real_world: World) -> None:
    world, traffic = real_world, Traffic()
    await open_now(world, *(f"T{number}" for number in range(BATCH + 20)))
    one, other = dispatcher(world, traffic), dispatcher(world, traffic)
    assert sorted(await asyncio.gather(one.drain_once(), other.drain_once())) == [20, BATCH]
    assert len(traffic.started) == BATCH + 20
    assert set(traffic.started.values()) == {1}, "no row is sent by both"
    assert traffic.most <= 2 * one.concurrency
    await eventually(lambda: _is_drained(world))


async def test_what_cannot_be_sent_is_put_off_a_little_longer_each_time(
    real_world: World, temporal_server: TemporalServer
) -> None:
    world = real_world
    await open_now(world, "T1")
    temporal_server.stop(signal.SIGKILL)
    waits: list[timedelta] = []
    for attempt in range(1, 4):
        assert await world.dispatcher.drain_once() == 1
        attempts, error, available_at, lease_until = await _outbox_row(world)
        assert (attempts, lease_until) == (attempt, None)
        assert error is not None
        waits.append(available_at - await _now(world))
        assert await world.dispatcher.drain_once() == 0, "it is not due again yet"
        await _make_available(world)
    assert waits == sorted(waits)
    assert waits[0] < timedelta(seconds=2) < waits[-1]
    temporal_server.start()
    await eventually(lambda: _is_drained(world))
    assert await world.is_running()


async def test_a_failing_row_holds_up_no_other(real_world: World, caplog) -> None:
    """An id that Temporal refuses can never be sent: the ticket goes to the poller."""
    world, long = real_world, "T" * 1000
    await open_now(world, "T1", long, "T2")
    await world.dispatch()
    assert await world.is_running("T1") and await world.is_running("T2")
    assert (await world.owner("T1"), await world.owner(long)) == ("temporal", "polling")
    assert await world.outbox() == 0
    assert "Temporal refused it" in caplog.text


async def test_the_end_of_a_run_that_is_not_there_is_told_and_starts_none(real_world: World) -> None:
    world = real_world
    await open_now(world, "T1")
    await world.lose_outbox()
    await world.do(lambda service, conn: service.record_resolution(conn, "T1"), dispatch=False)
    await world.dispatch()
    assert await world.outbox() == 0
    with pytest.raises(RPCError, match="not found"):
        await world.handle().describe()


async def test_what_a_dead_dispatcher_had_leased_is_sent_once_the_lease_is_over(real_world: World) -> None:
    world = real_world
    await open_now(world, "T1")
    now = await _now(world)
    lease = "SELECT count(*) FROM slaq.lease_outbox(10, %s, %s)"
    assert await world.rows(lease, now, LEASE) == [(1,)], "and here it dies"
    assert await world.rows(lease, now + LEASE - timedelta(seconds=1), LEASE) == [(0,)]
    assert await world.rows(lease, now + LEASE + timedelta(seconds=1), LEASE) == [(1,)]


async def test_a_crash_between_sending_and_acknowledging_sends_again_and_changes_nothing(real_world: World) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1")
        await _send_twice(world, "running")
        await world.do(lambda service, conn: service.pause_sla(conn, "T1"), dispatch=False)
        await _send_twice(world, "paused")


async def test_killed_while_it_drains(real_world: World, temporal_server: TemporalServer, tmp_path) -> None:
    """At any point: each ticket has its one run in the end, and nothing waits."""
    world, names = real_world, [f"T{number}" for number in range(60)]
    await open_now(world, *names)
    with processes(world.dsn, temporal_server.address, tmp_path, "temporal-worker") as running:
        for left in (59, 30):
            await eventually(lambda left=left: _has_at_most(world, left))
            running["temporal-worker"].kill()
            await world.rows(  # what it had leased is free at once, as it will be half a minute later
                "WITH freed AS (UPDATE sla_outbox SET lease_until = NULL RETURNING 1) SELECT count(*) FROM freed"
            )
            running["temporal-worker"].start()
        await eventually(lambda: _has_at_most(world, 0), seconds=40)
    wanted = {f"sla-ticket-acme-{name}": 1 for name in names}
    await eventually(lambda: _is_running_exactly(world, wanted))  # the list of runs is a little stale


async def test_a_server_that_hands_out_no_work_is_not_vouched_for(real_world: World) -> None:
    """Temporal answering is not enough: somebody must be working on the queue, and be the one who asks."""
    world = real_world
    assert not await serves(world.client, task_queue(), "test")
    async with world.worker():
        await eventually(lambda: serves(world.client, task_queue(), "test"))
        assert not await serves(world.client, task_queue(), "another worker")


async def test_no_caller_waits_for_a_frozen_server(real_world: World, temporal_server: TemporalServer) -> None:
    """A call to it would never return; the application only writes the outbox."""
    world = real_world
    await world.vouch()
    temporal_server.freeze()
    await asyncio.wait_for(open_now(world, "T1"), 10)
    await asyncio.wait_for(world.do(lambda service, conn: service.record_resolution(conn, "T1"), dispatch=False), 10)
    assert await world.outbox() == 1
    temporal_server.thaw()
    await eventually(lambda: _is_drained(world))


async def test_the_outbox_waits_while_temporal_is_down(real_world: World) -> None:
    """Nothing is tried, so nothing is put off: it is sent at once when Temporal is back."""
    world, stop, is_up = real_world, asyncio.Event(), [False]
    await open_now(world, "T1")
    draining = asyncio.create_task(keep_running("d", lambda: world.dispatcher.run(stop, lambda: is_up[0]), stop))
    await asyncio.sleep(1)
    assert (await _outbox_row(world))[0] == 0
    is_up[0] = True
    await eventually(lambda: _has_at_most(world, 0))
    stop.set()
    await draining


async def _send_twice(world: World, status: str) -> None:
    """Send what waits, put it back as if nobody had acknowledged it, and send it again."""
    (row,) = await world.rows("SELECT to_jsonb(o)::text FROM sla_outbox o")
    await world.dispatch()
    state = await eventually(lambda: _state_when(world, status))
    run = (await world.handle().describe()).run_id
    await world.rows(
        "WITH again AS (INSERT INTO sla_outbox SELECT (jsonb_populate_record(NULL::sla_outbox, %s::jsonb)).* RETURNING 1)"
        " SELECT * FROM again",
        row[0],
    )
    await world.dispatch()
    assert await world.outbox() == 0
    assert (await world.handle().describe()).run_id == run
    assert (await world.state()).snapshot == state.snapshot


async def _is_running_exactly(world: World, wanted: dict[str, int]) -> bool:
    return wanted == Counter([run.id async for run in world.client.list_workflows("ExecutionStatus = 'Running'")])


async def _outbox_row(world: World) -> tuple[int, str | None, datetime, datetime | None]:
    rows = await world.rows("SELECT attempts, last_error, available_at, lease_until FROM sla_outbox")
    return rows[0]  # pyright: ignore[reportReturnType]


async def _now(world: World) -> datetime:
    return (await world.rows("SELECT clock_timestamp()"))[0][0]


async def _make_available(world: World) -> None:
    await world.rows("WITH w AS (UPDATE sla_outbox SET available_at = created_at RETURNING 1) SELECT * FROM w")


async def _is_drained(world: World) -> bool:
    await _make_available(world)
    await world.dispatch()
    return await world.outbox() == 0


async def _has_at_most(world: World, count: int) -> bool:
    return await world.outbox() <= count


async def _state_when(world: World, status: str):
    state = await world.state()
    return state if state.status == status else None
