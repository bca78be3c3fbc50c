"""pgqueuer as its own command runs it: over asyncpg, on uvloop.

Over one psycopg connection its listener keeps the connection for up to a second at a time, and its worker waits for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from benchmarks.queues.peer import CONCURRENCY, QUEUE, Drain, Trickle, in_bulk, main, one_after_another

BEST_BATCH = 250


@asynccontextmanager
async def connect() -> AsyncGenerator[Queries]:
    async with asyncpg.create_pool(min_size=2) as pool:
        yield Queries(AsyncpgPoolDriver(pool))


async def install(_: int) -> list[float]:
    async with connect() as queries:
        await queries.install()
    return []


async def send(count: int) -> list[float]:
    async with connect() as queries:
        return await one_after_another(count, lambda n: queries.enqueue(QUEUE, json.dumps({"n": n}).encode()))


async def insert(count: int) -> list[float]:
    async with connect() as queries:

        async def many(batch: list[dict[str, Any]]) -> None:
            payloads: list[bytes | None] = [json.dumps(data).encode() for data in batch]
            await queries.enqueue([QUEUE] * len(batch), payloads, [0] * len(batch))

        return await in_bulk(count, many)


async def work(count: int) -> list[float]:
    drain = Drain(count)
    async with working(lambda _: drain.handled(), batch_size=CONCURRENCY, concurrency_limit=CONCURRENCY):
        return await drain.rate()


async def work_batches(count: int) -> list[float]:
    """Its handlers take one job each; this is what it fetches and settles at a time, with no limit to concurrency."""
    drain = Drain(count)
    async with working(lambda _: drain.handled(), batch_size=BEST_BATCH):
        return await drain.rate()


async def latency(count: int) -> list[float]:
    trickle = Trickle()
    started = lambda payload: trickle.started(float(payload))  # noqa: E731
    async with connect() as queries, working(started, batch_size=CONCURRENCY, concurrency_limit=CONCURRENCY):
        return await trickle.run(count, lambda sent: queries.enqueue(QUEUE, str(sent).encode()))


@asynccontextmanager
async def working(
    handle: Callable[[Any], None], *, batch_size: int, concurrency_limit: int = 0
) -> AsyncGenerator[None]:
    async with connect() as queries:
        manager = QueueManager(queries)

        @manager.entrypoint(QUEUE, concurrency_limit=concurrency_limit)
        async def entrypoint(job: Any) -> None:
            handle(job.payload)

        running = asyncio.create_task(manager.run(dequeue_timeout=timedelta(seconds=1), batch_size=batch_size))
        try:
            yield
        finally:
            manager.shutdown.set()
            await running


if __name__ == "__main__":
    main(install, send, insert, work, work_batches, latency, run=uvloop.run)
