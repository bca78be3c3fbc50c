"""What an operator can do: reconcile, replace, adopt; on the full server, which can list its workflows."""

from __future__ import annotations

from slaq.temporal.reconciler import Reconciler

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
