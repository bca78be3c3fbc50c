"""The full server in real time: workers and servers die, nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
import re
import signal
from itertools import pairwise

import psycopg
import pytest

from slaq.demo.summary import summarise
from slaq.demo.temporal import TemporalServer

from .processes import Process, processes
from .world import DESK, World, eventually

THRESHOLDS = ", ".join(f"{percent} = {{}}" for percent in range(5, 100, 5))
FAST = DESK.replace(
    'high = { response = "100m", resolution = "400m" }', 'high = { response = "1m", resolution = "2m", is_24x7 = true }'
).replace(
    'schedule = "office"\nis_default = true',
    f'schedule = "office"\nis_default = true\nthresholds = {{ {THRESHOLDS} }}',
)
"""A crossing every three seconds."""


@pytest.fixture
async def fast(real_world: World) -> World:
    await real_world.configure(FAST)
    return real_world


async def open_now(world: World, *names: str) -> None:
    """New tickets, as an application opens them: nobody dispatches but the worker."""
    from slaq.services.ticket import Ticket

    for name in names:
        now = (await world.rows("SELECT clock_timestamp()"))[0][0]
        ticket = Ticket(ticket_id=name, entered_at=now, priority_id="high", board_id="desk", assigned_to="ada")
        await world.do(lambda service, conn, t=ticket: service.sync_ticket(conn, t), dispatch=False)


async def summary(world: World, *names: str):
    until = (await world.rows("SELECT clock_timestamp()"))[0][0]
    await eventually(lambda: all_told(world, until), seconds=40, what="all that was due is told")
    await asyncio.sleep(2)  # and delivered

    def read():
        with psycopg.connect(world.dsn) as conn:
            return summarise(conn, "slaq", "acme", names, until)

    return await asyncio.to_thread(read)


async def all_told(world: World, until) -> bool:
    return (await world.rows("SELECT count(*) FROM sla_alarms WHERE due_at <= %s", until))[0][0] == 0


async def vouched(world: World, *, is_up: bool = True) -> bool:
    return (await world.rows("SELECT slaq.is_temporal_up()"))[0][0] is is_up


async def told_by(world: World, by: str) -> int:
    return int((await world.rows("SELECT count(*) FROM sla_crossings WHERE claimed_by = %s", by))[0][0])


async def test_criterion_8_an_outage_of_temporal_is_bridged_by_the_poller(
    fast: World, temporal_server: TemporalServer, tmp_path
) -> None:
    await fast.health.retire()
    with processes(fast.dsn, temporal_server.address, tmp_path, "temporal-worker", "worker") as running:
        await eventually(lambda: vouched(fast), what="a worker vouches")
        await open_now(fast, "T1", "T2")
        await eventually(lambda: told_by(fast, "temporal"), what="Temporal tells")
        temporal_server.stop(signal.SIGKILL)
        await eventually(lambda: vouched(fast, is_up=False), what="nobody vouches")
        await eventually(lambda: told_by(fast, "polling"), what="the poller steps in")
        await open_now(fast, "T3")
        assert await fast.owner("T3") == "polling"
        temporal_server.start()
        await eventually(lambda: vouched(fast), what="it is back")
        before = await told_by(fast, "temporal")
        await eventually(lambda: _more_than(fast, before), what="Temporal tells again")
        await open_now(fast, "T4")
        assert await fast.owner("T4") == "temporal"
        found = await summary(fast, "T1", "T2", "T3", "T4")
        assert (found["missed"], found["duplicates"]) == (0, 0), found
        assert await fast.outbox() == 0
        assert running["worker"].said("no worker vouches for Temporal")
        assert running["worker"].said("told by the poller")
        states = re.findall("Temporal is (there|not answering)", running["temporal-worker"].log.read_text("utf-8"))
        assert states[:3] == ["there", "not answering", "there"]
        assert all(one != other for one, other in pairwise(states)), "one line per change of state"
        assert running["temporal-worker"].stop() == 0, "SIGTERM is graceful"


async def test_durability_workflows_survive_killed_and_restarted_workers(
    fast: World, temporal_server, tmp_path
) -> None:
    with processes(fast.dsn, temporal_server.address, tmp_path, "temporal-worker") as running:
        await eventually(lambda: vouched(fast))
        await open_now(fast, "T1")
        await eventually(lambda: told_by(fast, "temporal"))
        running["temporal-worker"].kill()
        await asyncio.sleep(4)
        running["temporal-worker"].start()
        before = await told_by(fast, "temporal")
        await eventually(lambda: _more_than(fast, before + 1), seconds=25)
        found = await summary(fast, "T1")
        assert (found["missed"], found["duplicates"]) == (0, 0), found
        assert await told_by(fast, "polling") == 0


async def test_the_worker_waits_for_a_temporal_that_is_not_there_yet(dsn: str, tmp_path) -> None:
    server = TemporalServer(tmp_path / "temporal.db")
    with processes(dsn, server.address, tmp_path, "temporal-worker") as running:
        worker: Process = running["temporal-worker"]
        await eventually(lambda: asyncio.to_thread(worker.said, "Temporal cannot be reached, waiting for it"))
        with server:
            await eventually(lambda: asyncio.to_thread(worker.said, "Temporal is there"))
            assert worker.stop() == 0


async def _more_than(world: World, count: int) -> bool:
    return await told_by(world, "temporal") > count
