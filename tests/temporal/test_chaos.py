"""Random lives while everything is killed, frozen and restarted: the rows must be those that punctual timers would have
written. How late they are, and what was out of order then, is printed."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from statistics import quantiles
from typing import Any

import psycopg
import pytest

from slaq.demo.summary import summarise
from slaq.demo.temporal import TemporalServer
from slaq.errors import ConcurrentChange
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.store.migrate import grant, migrate

from .misfortunes import Installation
from .processes import processes
from .test_outages import all_told, open_now, vouched
from .world import DESK, World, eventually, open_world, reach

WORDS = ("pause_sla", "resume_sla", "resume_sla", "record_first_response", "handle_priority_change", "record_resolution", "reopen",
         "reopen")  # fmt: skip


def desk(step: int) -> str:
    """Promises of minutes, with a threshold at every ``step`` per cent."""
    thresholds = ", ".join(f"{percent} = {{}}" for percent in range(step, 101, step))
    brisk = {
        'high = { response = "100m", resolution = "400m" }': 'high = { response = "1m", resolution = "2m", is_24x7 = true }',
        'low = { response = "4h", resolution = "16h" }': 'low = { response = "2m", resolution = "5m", is_24x7 = true }',
        'schedule = "office"\nis_default = true': f'schedule = "office"\nis_default = true\nthresholds = {{ {thresholds} }}',
    }  # fmt: skip
    text = DESK
    for slow, fast in brisk.items():
        assert slow in text
        text = text.replace(slow, fast)
    return text


WITNESS = """
CREATE TABLE slaq.witness (crossed_at timestamptz, written_at timestamptz);
CREATE FUNCTION slaq.witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO slaq.witness VALUES (NEW.crossed_at, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT ON slaq.sla_crossings FOR EACH ROW EXECUTE FUNCTION slaq.witness();
"""
"""When a crossing was really written, whatever its writer says."""


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that may be killed; a crash takes back no commit."""
    with temporary(settings={"synchronous_commit": "on"}) as running:
        with psycopg.connect(running.admin_conninfo(), autocommit=True) as conn:
            migrate(conn, "slaq")
            grant(conn, "slaq", APP, to_worker=True)
        yield running


@pytest.mark.timeout(180)
async def test_half_a_minute_of_chaos(
    own_postgres: EmbeddedPostgres, temporal_server: TemporalServer, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    async with open_world(own_postgres.conninfo(), await reach(), None) as world:
        await chaos(world, temporal_server, own_postgres, tmp_path, tickets=20, step=5, seconds=22, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("seed", "calm"), [(0, 1), (1, 1), (2, 30)])
async def test_minutes_of_chaos(
    own_postgres: EmbeddedPostgres, temporal_server: TemporalServer, tmp_path, monkeypatch, seed: int, calm: float
) -> None:
    """Two misfortunes at a time; the third time with a while of calm between them."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    async with open_world(own_postgres.conninfo(), await reach(), None) as world:
        await chaos(
            world,
            temporal_server,
            own_postgres,
            tmp_path,
            tickets=200,
            step=20,
            seconds=300,
            seed=seed,
            calm=calm,
            at_once=2,
        )


async def chaos(
    world: World, temporal: TemporalServer, postgres: EmbeddedPostgres, directory,
    *, tickets: int, step: int, seconds: float, seed: int, calm: float = 1, at_once: int = 1,
) -> None:  # fmt: skip
    """Tickets live, processes die; then everything must be told, once."""
    dice = random.Random(seed)
    await world.configure(desk(step))
    await world.health.retire()
    async with world.seen.connection() as conn:
        await conn.execute(WITNESS)
    with processes(world.dsn, temporal.address, directory, "temporal-worker", "worker", SLAQ_GRACE="3") as running:
        installation = Installation(temporal, postgres, running)
        await eventually(lambda: vouched(world), what="a worker vouches")
        harm = asyncio.gather(
            *(installation.suffer(random.Random(f"{seed}{n}"), seconds, calm) for n in range(at_once))
        )
        opened: list[str] = []
        await asyncio.gather(
            open_all(world, opened, tickets, seconds / tickets / 5),
            live(world, dice, opened, seconds / tickets / 2, harm),
        )
        assert {one.name for one in installation.happened} == set(installation.fates)
        await assert_all_is_told_once(world, opened)
        assert await world.rows("SELECT count(*) FROM witness WHERE written_at < crossed_at") == [(0,)], "none early"
        assert all(process.is_alive for process in running.values()), "no outage ends a worker"
        await print_lateness(world, installation)


async def open_all(world: World, opened: list[str], tickets: int, pause: float) -> None:
    while len(opened) < tickets:
        with suppress(psycopg.Error, ConcurrentChange):  # the application's own transaction failed
            await open_now(world, f"T{len(opened)}")
            opened.append(f"T{len(opened)}")
        await asyncio.sleep(pause)


async def live(world: World, dice: random.Random, opened: list[str], pause: float, harm: asyncio.Future[Any]) -> None:
    """Something happens to some ticket, again and again, as long as harm is done."""
    while not harm.done():
        await asyncio.sleep(pause)
        if not opened:
            continue
        word = dice.choice(WORDS)
        arguments = (dice.choice(("high", "low")),) if word == "handle_priority_change" else ()
        with suppress(psycopg.Error, ConcurrentChange):
            await world.verb(word, dice.choice(opened), *arguments, is_dispatched=False)
    await harm


async def assert_all_is_told_once(world: World, opened: list[str]) -> None:
    """None is missing, none is there twice, nothing waits any more."""
    until = (await world.rows("SELECT clock_timestamp()"))[0][0]
    await eventually(lambda: all_told(world, until), seconds=120, what="all that was due is told")
    await eventually(lambda: is_drained(world), seconds=120, what="the outbox is empty, all is delivered")

    def read():
        with psycopg.connect(world.dsn) as conn:
            return summarise(conn, "slaq", "acme", opened, until)

    found = await asyncio.to_thread(read)
    print({key: found[key] for key in ("tickets", "expected", "missed", "duplicates")})
    assert (found["missed"], found["duplicates"]) == (0, 0), found
    assert await world.claimed_by() >= {"polling", "temporal"}


async def is_drained(world: World) -> bool:
    waiting = await world.rows("SELECT count(*) FROM sla_deliveries WHERE status = 'pending'")
    return waiting == [(0,)] and await world.outbox() == 0


async def print_lateness(world: World, installation: Installation) -> None:
    """Of each crossing, by what was out of order when it could be told, and by who told it."""
    rows = await world.rows(
        "SELECT greatest(crossed_at, armed_at), noticed_at, claimed_by FROM sla_crossings WHERE NOT is_silent"
    )
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for possible, noticed, by in rows:
        found[installation.cause(possible), by].append((noticed - possible).total_seconds())
    print(f"{len(installation.happened)} misfortunes; seconds late:")
    print(f"{'out of order':<50} {'told by':<12} {'rows':>5} {'p50':>7} {'p99':>7} {'max':>7}")
    for (cause, by), late in sorted(found.items()):
        cuts = quantiles(late, n=100, method="inclusive") if len(late) > 1 else late * 99
        print(f"{cause:<50} {by:<12} {len(late):>5} {cuts[49]:>7.2f} {cuts[98]:>7.2f} {max(late):>7.2f}")
