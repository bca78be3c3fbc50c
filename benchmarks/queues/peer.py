"""What the Python peers share; ``peer.mjs`` is the same for those in Node."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

QUEUE = "work"
OTHER_QUEUE = "other"
INSERTED = 1000
"""Jobs of one bulk insert."""
FETCHED = 100
"""Jobs of one fetch in batches."""
CONCURRENCY = 10
LATER = 86_400
"""Seconds until a job of the future is due."""
GAP = 0.02
"""Seconds from the start of a job to the sending of the next, where latency is measured."""

Action = Callable[[int], Awaitable[list[float]]]


def main(*actions: Action, run: Callable[..., list[float]] = asyncio.run) -> None:
    """Run the action that the command line names."""
    logging.disable(logging.WARNING)
    name, count = sys.argv[1:]
    named = {action.__name__: action for action in actions}
    print(json.dumps(run(named[name](int(count)))))


async def one_after_another(count: int, send: Callable[[int], Awaitable[object]]) -> list[float]:
    """How often a second ``send`` can be called, once it is warm."""
    for n in range(count // 10):
        await send(n)
    since = perf_counter()
    for n in range(count):
        await send(n)
    return [count / (perf_counter() - since)]


async def in_bulk(count: int, insert: Callable[[list[dict[str, Any]]], Awaitable[object]]) -> list[float]:
    """How many jobs a second ``insert`` adds, which is handed the data of many."""
    since = perf_counter()
    for at in range(0, count, INSERTED):
        await insert([{"n": n} for n in range(at, min(at + INSERTED, count))])
    return [count / (perf_counter() - since)]


async def each(count: int, fetch: Callable[[], Awaitable[object]]) -> list[float]:
    """The milliseconds of each call of ``fetch``, once it is warm."""
    times: list[float] = []
    for _ in range(count // 10 + count):
        since = perf_counter()
        await fetch()
        times.append((perf_counter() - since) * 1000)
    return times[count // 10 :]


class Drain:
    """Counts handled jobs. The first tenth is warm-up, and what follows the start of the last does not count."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._warm = 0
        self._since = 0.0
        self._rate: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def handled(self, jobs: int = 1) -> None:
        self._seen += jobs
        if not self._warm and self._seen >= self._count // 10:
            self._warm, self._since = self._seen, perf_counter()
        elif self._seen == self._count:
            self._rate.set_result((self._count - self._warm) / (perf_counter() - self._since))

    async def rate(self) -> list[float]:
        return [await self._rate]


class Trickle:
    """Jobs one at a time: the milliseconds from the call that sends each to its handler."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._started = asyncio.Event()

    def started(self, sent: float) -> None:
        self._times.append((perf_counter() - sent) * 1000)
        self._started.set()

    async def run(self, count: int, send: Callable[[float], Awaitable[object]]) -> list[float]:
        await asyncio.sleep(1)  # until the worker listens
        for _ in range(count // 10 + count):
            await asyncio.sleep(GAP)
            self._started.clear()
            await send(perf_counter())
            await self._started.wait()
        return self._times[count // 10 :]
