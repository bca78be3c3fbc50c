"""The pure fold, the poller and Temporal give the same answers, to the second and row for row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from heapq import merge
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from timeline import oracle

from slaq.backends.polling import PollingSlaBackend
from slaq.clock import FixedClock, Reading
from slaq.configuration import Configuration
from slaq.jobs.timer import Timer
from slaq.services.apply import apply
from slaq.services.service import SlaService
from slaq.store.tenancy import run_with_tenant

from .scenarios import GONE, Act, Scenario, instant, load, spell
from .world import World

SCENARIOS = load()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_oracle_that_lives_through_every_minute_agrees(scenario: Scenario) -> None:
    if scenario.is_deleted:
        assert (scenario.crossings, scenario.ends) == ((), GONE)
        return
    log, until = scenario.log(), instant(scenario.until)
    told = [
        spell(row.crossed_at, row.phase, row.kind, row.percent, is_voided=row.is_voided, is_silent=row.is_silent)
        for row in oracle.told(log, until)
    ]
    assert sorted(told) == sorted(scenario.crossings)
    assert oracle.headline(log, until) == scenario.ends


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_pure_fold_agrees(scenario: Scenario) -> None:
    assert scenario.rows() == sorted(scenario.crossings)
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
        await world.vouch()
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
    for at, scenario, act in merge(*map(course, SCENARIOS), key=lambda each: each[0]):
        await until(at)
        with run_with_tenant(scenario.tenant):
            async with pool.connection() as conn, conn.transaction():
                await act(service, conn)


def course(scenario: Scenario) -> list[tuple[datetime, Scenario, Act]]:
    """What happens in a life, and when: it is handed over, it is acted on, it is looked at."""

    async def look(service: SlaService, conn: AsyncConnection[Any]) -> None:
        if not scenario.is_deleted:
            assert (await service.get_sla_status(conn, "T")).status == scenario.ends, scenario.name

    return [
        (scenario.seen_at, scenario, lambda service, conn: service.sync_ticket(conn, scenario.ticket())),
        *((step.at, scenario, scenario.act(step)) for step in scenario.steps),
        (instant(scenario.until), scenario, look),
    ]


async def differences(dsn: str) -> dict[str, tuple[list[str], list[str]]]:
    """Scenarios whose rows are not those expected: both."""
    found = {}
    async with await psycopg.AsyncConnection.connect(dsn + " user=postgres options='-c search_path=slaq'") as conn:
        for scenario in SCENARIOS:
            cursor = await conn.execute(
                "SELECT crossed_at, phase, kind, percent, voided_at IS NOT NULL, is_silent FROM sla_crossings"
                " WHERE tenant = %s AND crossed_at <= %s",
                [scenario.tenant, instant(scenario.until)],
            )
            rows = sorted(spell(*row[:4], is_voided=row[4], is_silent=row[5]) for row in await cursor.fetchall())
            if rows != sorted(scenario.crossings):
                found[scenario.name] = rows, sorted(scenario.crossings)
    return found
