"""slaq's queue, by its public verbs and the worker that ``slaq worker --app`` runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from benchmarks.queues.peer import (
    CONCURRENCY,
    FETCHED,
    LATER,
    OTHER_QUEUE,
    QUEUE,
    Drain,
    Trickle,
    each,
    in_bulk,
    main,
    one_after_another,
)
from slaq.jobs import Job, JobQueue
from slaq.jobs.runner import QueueWorker

queue = JobQueue()


async def connect() -> AsyncConnection[Any]:
    return await AsyncConnection.connect(autocommit=True)


async def install(_: int) -> list[float]:
    async with await connect() as conn:
        for name in (QUEUE, OTHER_QUEUE):
            await queue.create_queue(conn, name)
    return []


async def send(count: int) -> list[float]:
    async with await connect() as conn:
        return await one_after_another(count, lambda n: queue.send(conn, QUEUE, {"n": n}))


async def insert(count: int, name: str = QUEUE, **options: Any) -> list[float]:
    async with await connect() as conn:
        return await in_bulk(count, lambda many: queue.insert(conn, name, [{"data": each, **options} for each in many]))


async def insert_others(count: int) -> list[float]:
    return await insert(count, OTHER_QUEUE)


async def insert_later(count: int) -> list[float]:
    return await insert(count, start_after=LATER)


async def fetch(count: int, loops: int = CONCURRENCY) -> list[float]:
    drain = Drain(count)

    async def loop(conn: AsyncConnection[Any]) -> None:
        while jobs := await queue.fetch(conn, QUEUE, FETCHED):
            drain.handled(len(jobs))
            await queue.complete(conn, QUEUE, jobs)

    async with AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(await connect()) for _ in range(loops)]
        await asyncio.gather(*map(loop, conns))
    return await drain.rate()


async def fetch_alone(count: int) -> list[float]:
    return await fetch(count, 1)


async def fetch_nothing(count: int) -> list[float]:
    async with await connect() as conn:
        return await each(count, lambda: queue.fetch(conn, QUEUE, CONCURRENCY))


async def work_batches(count: int) -> list[float]:
    drain = Drain(count)

    @queue.work(QUEUE, batch_size=FETCHED)
    async def handler(jobs: list[Job]) -> None:
        drain.handled(len(jobs))

    async with working():
        return await drain.rate()


async def work(count: int) -> list[float]:
    drain = Drain(count)

    @queue.work(QUEUE)
    async def handler(job: Job) -> None:  # noqa: ARG001 - a handler's signature
        drain.handled()

    async with working():
        return await drain.rate()


async def latency(count: int) -> list[float]:
    trickle = Trickle()

    @queue.work(QUEUE)
    async def handler(job: Job) -> None:
        trickle.started(job.data)

    async with await connect() as conn, working():
        return await trickle.run(count, lambda sent: queue.send(conn, QUEUE, sent))


@asynccontextmanager
async def working() -> AsyncGenerator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(QueueWorker(queue, "", concurrency=CONCURRENCY).run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


if __name__ == "__main__":
    main(
        install, send, insert, insert_others, insert_later, fetch, fetch_alone, fetch_nothing, work_batches, work, latency
    )  # fmt: skip
