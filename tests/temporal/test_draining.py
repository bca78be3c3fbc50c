"""Draining a long outbox: batch after batch, the next one leased while one is sent, and never too many calls at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import attrs
import pytest
from temporalio.client import Client, Interceptor, OutboundInterceptor

from slaq.temporal.client import task_queue
from slaq.temporal.dispatcher import Dispatcher

from .test_outages import open_now
from .world import World, eventually

BATCH, CALLS = 10, 4


@attrs.define
class Gate(Interceptor):
    """Holds back the starts of workflows until it is opened, and counts them."""

    opened: asyncio.Event = attrs.field(factory=asyncio.Event)
    started: Counter[str] = attrs.field(factory=Counter)
    under_way: int = 0
    most: int = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        gate = self

        class Held(OutboundInterceptor):
            async def start_workflow(self, input: Any) -> Any:
                gate.under_way += 1
                gate.most = max(gate.most, gate.under_way)
                await gate.opened.wait()
                try:
                    return await super().start_workflow(input)
                finally:
                    gate.under_way -= 1
                    gate.started[input.id] += 1

        return Held(next)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr("slaq.temporal.dispatcher.BATCH", BATCH)
    monkeypatch.setattr("slaq.temporal.sending.PATIENCE", 60)  # the gate may stay shut as long as it likes
    return Gate()


def through(gate: Gate, world: World) -> Dispatcher:
    client = Client(**{**world.client.config(), "interceptors": [gate]})
    return Dispatcher(world.pool, "slaq", client, task_queue(), concurrency=CALLS)


async def test_the_next_batch_is_leased_while_one_is_sent(real_world: World, gate: Gate) -> None:
    world, names = real_world, [f"T{number}" for number in range(2 * BATCH + 5)]
    await open_now(world, *names)
    draining = asyncio.create_task(through(gate, world).drain())

    async def leased() -> int:
        return int((await world.rows("SELECT count(*) FROM sla_outbox WHERE lease_until IS NOT NULL"))[0][0])

    await eventually(lambda: asyncio.sleep(0, gate.under_way == CALLS))
    await eventually(lambda: _is(leased, 2 * BATCH), what="one batch is sent, the next one waits")
    gate.opened.set()
    assert await draining == len(names)
    assert gate.started == {f"sla-ticket-acme-{name}": 1 for name in names}
    assert gate.most == CALLS, "over all batches"
    assert await world.outbox() == 0


async def test_it_goes_on_only_as_long_as_it_may(real_world: World, gate: Gate) -> None:
    world, gates = real_world, iter((False, True, False))
    gate.opened.set()
    await open_now(world, *(f"T{number}" for number in range(BATCH + 5)))
    dispatcher = through(gate, world)
    assert await dispatcher.drain(lambda: next(gates)) == 0
    assert await dispatcher.drain(lambda: next(gates)) == BATCH
    assert await world.outbox() == 5
    assert await dispatcher.drain() == 5


async def _is(count: Any, wanted: int) -> bool:
    return await count() == wanted
