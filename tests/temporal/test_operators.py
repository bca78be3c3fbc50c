"""What an operator can do: reconcile, replace, adopt; on the full server, which can list its workflows."""

from __future__ import annotations

import asyncio
from unittest.mock import ANY

from slaq.demo.temporal import TemporalServer
from slaq.temporal.reconciler import Reconciler

from .processes import processes
from .world import World, eventually


def reconciler(world: World) -> Reconciler:
    return Reconciler(world.pool, "slaq", world.client, rate=1000)


async def test_a_missing_workflow_is_found_and_started_again(real_world: World) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1", "T2")
        assert await eventually(lambda: reconciled(world, 0)), "nothing is missing"
        await world.handle("T1").terminate("lost")
        assert await eventually(lambda: reconciled(world, 1))
        await world.dispatch()
        assert await world.is_running("T1")


async def test_the_reconciler_looks_as_soon_as_temporal_is_there_and_again_and_again(
    real_world: World, monkeypatch, caplog
) -> None:
    """And says what it mended. Its interval is how long an open ticket may be without a run."""
    monkeypatch.setattr("slaq.temporal.reconciler.INTERVAL", 1.0)
    monkeypatch.setattr("slaq.temporal.reconciler._LOOK", 0.2)
    world, stop, is_up = real_world, asyncio.Event(), [False]
    async with world.worker():
        await open_now(world, "T1")
        await eventually(lambda: reconciled(world, 0))
        await world.handle().terminate("lost")
        running = asyncio.create_task(reconciler(world).run(stop, lambda: is_up[0]))
        await asyncio.sleep(0.5)
        assert await world.outbox() == 0, "Temporal is down"
        is_up[0] = True
        for _ in range(2):
            assert await eventually(world.outbox)
            await world.dispatch()
            assert await world.is_running()
            await world.handle().terminate("lost again")
        stop.set()
        await running
        assert "1 open tickets had no workflow, or one behind" in caplog.text


async def test_what_waits_to_be_sent_is_not_asked_for_again(real_world: World) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1")
        await world.handle("T1").terminate("lost")
        await world.do(lambda service, conn: service.pause_sla(conn, "T1"), dispatch=False)
        (before,) = await world.rows("SELECT version, change FROM sla_outbox")
        assert await reconciler(world).reconcile() == 0
        assert await world.rows("SELECT version, change FROM sla_outbox") == [before]


async def test_closed_tickets_and_those_without_a_promise_are_left_alone(real_world: World) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1", "T2", "T3")
        world.clock.now = (await world.rows("SELECT clock_timestamp()"))[0][0]
        await world.verb("record_resolution", "T1")
        await world.verb("cancel_sla", "T2")
        await eventually(lambda: world.has_ended("T1"))
        await eventually(lambda: world.has_ended("T2"))
        assert await eventually(lambda: reconciled(world, 0))
        assert await reconciler(world).restart_all() == 1
        await world.dispatch()
        assert not await world.is_running("T1")


async def test_progress_is_told_after_each_ticket(real_world: World) -> None:
    world, told = real_world, []
    async with world.worker():
        await open_now(world, "T1", "T2", "T3")
        mending = Reconciler(world.pool, "slaq", world.client, 1000, lambda seen, asked: told.append((seen, asked)))
        await mending.restart_all()
        assert told == [(1, 1), (2, 2), (3, 3)]


async def test_the_commands(real_world: World, temporal_server: TemporalServer, tmp_path) -> None:
    world = real_world

    async def slaq(*arguments: str) -> tuple[int, str]:
        with processes(world.dsn, temporal_server.address, tmp_path, " ".join(arguments)) as running:
            (process,) = running.values()
            return await asyncio.to_thread(process.wait), process.log.read_text("utf-8")

    async with world.worker():
        await open_now(world, "T1", "T2")
        await world.vouch(is_up=False)
        await open_now(world, "T3")
        assert await slaq("temporal", "restart") == (2, ANY), "of all open tickets, which must be said"
        for command, asked in (("reconcile", 0), ("restart --all-open", 2), ("adopt", 1)):
            await eventually(lambda: reconciled(world, 0))
            status, said = await slaq("temporal", *command.split(), "--rate", "1000")
            assert (status, said.splitlines()[-1]) == (0, f"asked for {asked} workflows")
            await world.dispatch()
        assert [await world.owner(name) for name in ("T1", "T2", "T3")] == ["temporal"] * 3


async def test_restart_replaces_every_run(real_world: World) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1", "T2")
        runs = [(await world.handle(name).describe()).run_id for name in ("T1", "T2")]
        assert await reconciler(world).restart_all() == 2
        await world.dispatch()
        after = [(await world.handle(name).describe()).run_id for name in ("T1", "T2")]
        assert not set(runs) & set(after)
        assert await world.is_running("T1")


async def test_polled_tickets_can_be_adopted(real_world: World) -> None:
    world = real_world
    await world.vouch(is_up=False)
    async with world.worker():
        await open_now(world, "T1")
        assert await world.owner() == "polling"
        await world.vouch()
        assert await reconciler(world).adopt() == 1
        await world.dispatch()
        assert await world.owner() == "temporal"
        assert await world.is_running()
        assert await reconciler(world).adopt() == 0


async def test_a_workflow_behind_the_poller_is_refreshed(real_world: World, superuser_dsn) -> None:
    import psycopg

    world = real_world
    async with world.worker():
        await open_now(world, "T1")
        with psycopg.connect(superuser_dsn, autocommit=True) as conn:
            conn.execute("INSERT INTO slaq.sla_crossings (tenant, ticket_id, phase, kind, percent, crossed_at, armed_at, noticed_at,"
                         " claimed_by) SELECT 'acme', 'T1', 'response', 'threshold', 1, now, now, now, 'polling'"
                         " FROM clock_timestamp() now")  # fmt: skip
        assert await eventually(lambda: reconciled(world, 1))
        await world.dispatch()
        assert await eventually(lambda: reconciled(world, 0))


async def reconciled(world: World, count: int) -> bool:
    return await reconciler(world).reconcile() == count


async def open_now(world: World, *names: str) -> None:
    for name in names:
        world.clock.now = (await world.rows("SELECT clock_timestamp()"))[0][0]
        await world.open(name)
