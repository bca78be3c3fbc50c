"""The pure fold, the poller and Temporal give the same answers, to the second and row for row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from heapq import merge

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from slaq.backends.polling import PollingSlaBackend
from slaq.clock import FixedClock, Reading
from slaq.configuration import Configuration
from slaq.jobs.timer import Timer
from slaq.services.apply import apply
from slaq.services.service import SlaService
from slaq.store.tenancy import run_with_tenant

from .scenarios import Scenario, instant, load, spell
from .world import World

SCENARIOS = load()
OPEN = "open"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_pure_fold_agrees(scenario: Scenario) -> None:
    assert scenario.rows() == list(scenario.crossings)
    assert scenario.headline() == scenario.ends


class _Timer(Timer):
    """A poller whose clock is the test's."""

    clock: FixedClock

    async def _clock(self, conn) -> Reading:
        return Reading(self.clock.now)


async def test_the_poller_agrees(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=6, open=False) as pool:
        clock = FixedClock(instant("Mon 00:00"))
        timer = _Timer(pool, "slaq")
        timer.clock = clock
        service = SlaService(PollingSlaBackend(), clock)

        async def until(at: datetime) -> None:
            clock.now = at - timedelta(seconds=1)
            while (await timer.run_pass()).leased:
                pass
            clock.now = at

        await live(dsn, pool, service, until)
        assert await differences(dsn) == {}


@pytest.mark.timeout(300)
async def test_temporal_agrees_with_the_poller_off(world: World) -> None:
    async def until(at: datetime) -> None:
        await world.dispatch()
        await world.until(at)

    await live(world.dsn, world.pool, world.service, until)
    await world.dispatch()
    assert await differences(world.dsn) == {}
    assert await world.outbox() == 0
    claimed = dict(await world.rows("SELECT claimed_by, count(*) FROM sla_crossings GROUP BY 1"))
    assert "polling" not in claimed
    assert claimed["temporal"] > 10 * claimed.get("application", 0), claimed


async def live(dsn: str, pool, service: SlaService, until: Callable[[datetime], Awaitable[None]]) -> None:
    """All lives at once, each in its tenant, in the order of what happens."""

    def configure() -> None:
        with psycopg.connect(dsn) as conn:
            apply(conn, Configuration.parse("".join(scenario.configuration() for scenario in SCENARIOS)))

    await asyncio.to_thread(configure)
    lives = [[(instant(s.start), n, OPEN), *((at, n, verb) for at, verb in s.steps), (instant(s.until), n, "look")]
             for n, s in enumerate(SCENARIOS)]  # fmt: skip
    for at, number, verb in merge(*lives):
        scenario = SCENARIOS[number]
        await until(at)
        with run_with_tenant(scenario.tenant):
            async with pool.connection() as conn, conn.transaction():
                if verb == OPEN:
                    await service.sync_ticket(conn, scenario.ticket())
                elif verb != "look":
                    await scenario.act(verb)(service, conn)
                elif scenario.ends != "gone":
                    status = await service.get_sla_status(conn, "T")
                    assert status.status == scenario.ends, scenario.name


async def differences(dsn: str) -> dict[str, tuple[list[str], list[str]]]:
    """Scenarios whose rows are not those expected: both."""
    found = {}
    async with await psycopg.AsyncConnection.connect(dsn + " user=postgres options='-c search_path=slaq'") as conn:
        for scenario in SCENARIOS:
            cursor = await conn.execute(
                "SELECT crossed_at, phase, kind, percent, voided_at IS NOT NULL FROM sla_crossings"
                " WHERE tenant = %s AND crossed_at <= %s",
                [scenario.tenant, instant(scenario.until)],
            )
            rows = sorted(spell(*row[:4], is_voided=row[4]) for row in await cursor.fetchall())
            if rows != list(scenario.crossings):
                found[scenario.name] = rows, list(scenario.crossings)
    return found
