"""Random lives while everything is killed: the rows must be those that punctual timers would have written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal

import psycopg
import pytest

from slaq.demo.temporal import TemporalServer

from .processes import processes
from .test_outages import FAST, open_now, summary, vouched
from .world import World, eventually

WORDS = ("pause_sla", "resume_sla", "pause_sla", "resume_sla", "record_first_response", "handle_priority_change", "record_resolution",
         "reopen")  # fmt: skip


@pytest.mark.timeout(150)
async def test_half_a_minute_of_chaos(real_world: World, temporal_server: TemporalServer, tmp_path, server) -> None:
    await chaos(real_world, temporal_server, tmp_path, server, tickets=12, seconds=30, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(3))
async def test_minutes_of_chaos(
    real_world: World, temporal_server: TemporalServer, tmp_path, server, seed: int
) -> None:
    await chaos(real_world, temporal_server, tmp_path, server, tickets=200, seconds=300, seed=seed)


async def chaos(
    world: World, temporal: TemporalServer, directory, postgres, *, tickets: int, seconds: float, seed: int
) -> None:
    """Tickets live, processes die; then everything must be told, once."""
    dice = random.Random(seed)
    names = [f"T{number}" for number in range(tickets)]
    await world.configure(FAST)
    await world.health.retire()
    with processes(world.dsn, temporal.address, directory, "temporal-worker", "worker", SLAQ_GRACE="3") as running:
        await eventually(lambda: vouched(world), what="a worker vouches")
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        harm = asyncio.create_task(do_harm(dice, temporal, running, postgres, end))
        opened: list[str] = []
        while loop.time() < end:
            if len(opened) < tickets:
                opened.append(names[len(opened)])
                await open_now(world, opened[-1])
            else:
                await live(world, dice, dice.choice(opened))
            await asyncio.sleep(seconds / tickets / 4)
        await harm
        await eventually(lambda: drained(world), seconds=60, what="the outbox is empty")
        found = await summary(world, *opened)
        lateness = await world.rows(
            "SELECT claimed_by, count(*), round(max(extract(epoch FROM noticed_at - greatest(crossed_at, armed_at)))::numeric, 1)"
            " FROM sla_crossings GROUP BY 1 ORDER BY 1"
        )
        print("claimed by, rows, latest:", lateness)
        assert (found["missed"], found["duplicates"]) == (0, 0), found
        early = await world.rows("SELECT count(*) FROM sla_crossings WHERE noticed_at < crossed_at")
        assert early == [(0,)]
        assert {by for by, *_ in lateness} == {"application", "polling", "temporal"}


async def live(world: World, dice: random.Random, ticket_id: str) -> None:
    """Something happens to a ticket, as nothing happened to it for a while."""
    word = dice.choice(WORDS)
    arguments = (dice.choice(("high", "low")),) if word == "handle_priority_change" else ()
    with contextlib.suppress(psycopg.Error):  # Postgres is frozen: the application's own transaction failed
        await world.do(lambda service, conn: getattr(service, word)(conn, ticket_id, *arguments), dispatch=False)


async def do_harm(dice: random.Random, temporal: TemporalServer, running, postgres, end: float) -> None:
    """One misfortune after the other, each undone."""
    loop = asyncio.get_running_loop()
    fates = ["worker dies", "temporal dies", "temporal freezes", "poller dies", "postgres freezes"]
    while loop.time() < end - 8:
        fate = (
            fates.pop(0) if fates else dice.choice(["worker dies", "temporal dies", "temporal freezes", "poller dies"])
        )
        match fate:
            case "worker dies" | "poller dies":
                process = running["temporal-worker" if fate == "worker dies" else "worker"]
                process.kill()
                await asyncio.sleep(2)
                process.start()
            case "temporal dies":
                temporal.stop(signal.SIGKILL)
                await asyncio.sleep(4)
                await asyncio.to_thread(temporal.start)
            case "temporal freezes":
                temporal.freeze()
                await asyncio.sleep(3)
                temporal.thaw()
            case _:
                freeze_backends(signal.SIGSTOP, postgres)
                await asyncio.sleep(2)
                freeze_backends(signal.SIGCONT, postgres)
        await asyncio.sleep(dice.uniform(1, 3))


def freeze_backends(number: int, postgres) -> None:
    """Stop or continue the server that the tests run on, with all its processes."""
    import psutil

    process = psutil.Process(postgres.status().pid)
    for one in (*process.children(recursive=True), process):
        os.kill(one.pid, number)


async def drained(world: World) -> bool:
    rows = await world.rows("SELECT count(*) FROM sla_alarms WHERE due_at < clock_timestamp() - interval '3 seconds'")
    return await world.outbox() == 0 and rows[0][0] == 0
