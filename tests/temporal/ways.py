"""The ways through a life: past the poller and past Temporal, and what each of them recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.backends.polling import PollingSlaBackend
from slaq.clock import FixedClock, Reading
from slaq.configuration import Configuration
from slaq.errors import InvalidInstant, UnknownTicket
from slaq.facts import Fact
from slaq.jobs.timer import Timer
from slaq.services.apply import apply
from slaq.services.service import SlaService
from slaq.store.database import run_async
from slaq.store.tenancy import run_with_tenant
from slaq.store.tickets import read_ticket

from .scenarios import Act, Scenario, instant, name, spell
from .world import World

Until = Callable[[datetime], Awaitable[None]]


@attrs.frozen
class Lived:
    """What became of a ticket: its facts, its rows in words by who claimed them, and how it stood at the end."""

    facts: tuple[Fact, ...]
    claimed: dict[str, str]
    ends: str

    @property
    def rows(self) -> list[str]:
        return sorted(self.claimed)

    @property
    def story(self) -> list[str]:
        """The facts in words. A timer that tells several crossings at once raises the version less often."""
        return [_words(fact) for fact in self.facts]


def _words(fact: Fact) -> str:
    promise = fact.promise
    what = "" if promise is None else f" to {promise.policy_id}: {promise.response}, {promise.resolution}"
    return f"{name(fact.known_at)} {fact.kind} {fact.source or ''} of {name(fact.at)}{what}"


class PunctualTimer(Timer):
    """A poller whose clock is the test's."""

    clock: FixedClock

    async def _clock(self, conn) -> Reading:
        return Reading(self.clock.now)


async def past_the_poller(dsn: str, scenarios: Sequence[Scenario]) -> list[Lived]:
    async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=6, open=False) as pool:
        clock = FixedClock(instant("Mon 00:00"))
        timer = PunctualTimer(pool, "slaq")
        timer.clock = clock
        service = SlaService(PollingSlaBackend(), clock)

        async def until(at: datetime) -> None:
            clock.now = at - timedelta(seconds=1)
            while (await timer.run_pass()).leased:
                pass
            clock.now = at

        return await _live(dsn, pool, service, until, scenarios)


async def past_temporal(world: World, scenarios: Sequence[Scenario]) -> list[Lived]:
    """With the poller off."""

    async def until(at: datetime) -> None:
        await world.vouch()  # which is about real time
        await world.dispatch()
        await world.until(at)

    lived = await _live(world.dsn, world.pool, world.service, until, scenarios)
    await world.dispatch()
    assert await world.outbox() == 0
    return lived


async def _live(
    dsn: str, pool: AsyncConnectionPool[Any], service: SlaService, until: Until, scenarios: Sequence[Scenario]
) -> list[Lived]:
    """All lives at once, each in its tenant, in the order of what happens."""

    def configure() -> None:
        with psycopg.connect(dsn) as conn:
            apply(conn, Configuration.parse("".join(scenario.configuration() for scenario in scenarios)))

    await asyncio.to_thread(configure)
    ends = dict.fromkeys((scenario.tenant for scenario in scenarios), "gone")
    for at, scenario, act in merge(*map(_course, scenarios), key=lambda each: each[0]):
        await until(at)
        with run_with_tenant(scenario.tenant), contextlib.suppress(InvalidInstant, UnknownTicket):  # random lives err
            async with pool.connection() as conn, conn.transaction():
                ends[scenario.tenant] = await act(service, conn)
    return [await _lived(dsn, scenario, ends[scenario.tenant]) for scenario in scenarios]


def _course(scenario: Scenario) -> Iterator[tuple[datetime, Scenario, Act]]:
    """What happens in a life, and when: it is handed over, it is acted on, it is looked at."""

    async def look(service: SlaService, conn: AsyncConnection[Any]) -> str:
        try:
            return str((await service.get_sla_status(conn, "T")).status)
        except UnknownTicket:
            return "gone"

    yield scenario.seen_at, scenario, lambda service, conn: service.sync_ticket(conn, scenario.ticket())
    for step in scenario.steps:
        yield step.at, scenario, scenario.act(step)
    yield instant(scenario.until), scenario, look


async def _lived(dsn: str, scenario: Scenario, ends: str) -> Lived:
    """What is in the database up to the end of a scenario; its alarms go on after it."""
    until = instant(scenario.until)
    async with await AsyncConnection.connect(dsn) as conn:
        with run_with_tenant(scenario.tenant):
            state, _ = await run_async(conn, read_ticket(scenario.tenant, "T", "slaq"))
        await conn.execute("SELECT set_config('slaq.tenant', %s, true)", [scenario.tenant])
        cursor = await conn.execute(
            "SELECT crossed_at, phase, kind, percent, voided_at IS NOT NULL, is_silent, claimed_by, noticed_at"
            " FROM slaq.sla_crossings WHERE crossed_at <= %s",
            [until],
        )
        rows = await cursor.fetchall()
    claimed = {spell(*row[:4], is_voided=row[4], is_silent=row[5]): row[6] for row in rows}
    assert len(claimed) == len(rows), "none twice"
    assert all(row[7] >= row[0] for row in rows), "none early"
    return Lived(state.facts, claimed, ends)
