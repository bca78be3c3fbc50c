"""Stock Procrastinate: its own tables, triggers and worker. It has no batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.tasks import Task

from benchmarks.queues.peer import (
    CONCURRENCY,
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

app = App(connector=PsycopgConnector())


def task(handler: Callable[[Any], None]) -> Task[Any, Any, Any]:
    @app.task(name="task", queue=QUEUE)
    async def run(n: Any) -> None:
        handler(n)

    return run


def ignore(n: Any) -> None:
    """What tasks do that are only enqueued."""


async def install(_: int) -> list[float]:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    return []


async def send(count: int) -> list[float]:
    noop = task(ignore)
    async with app.open_async():
        return await one_after_another(count, lambda n: noop.defer_async(n=n))


async def insert(count: int, **options: Any) -> list[float]:
    noop = task(ignore)
    async with app.open_async():
        return await in_bulk(count, lambda many: noop.configure(**options).batch_defer_async(*many))


async def insert_others(count: int) -> list[float]:
    return await insert(count, queue=OTHER_QUEUE)


async def insert_later(count: int) -> list[float]:
    return await insert(count, schedule_in={"seconds": LATER})


async def fetch_nothing(count: int) -> list[float]:
    async with app.open_async():
        worker = await app.job_manager.register_worker()
        return await each(count, lambda: app.job_manager.fetch_job([QUEUE], worker))


async def work(count: int) -> list[float]:
    drain = Drain(count)
    task(lambda _: drain.handled())
    async with working():
        return await drain.rate()


async def latency(count: int) -> list[float]:
    trickle = Trickle()
    late = task(trickle.started)
    async with working():
        return await trickle.run(count, lambda sent: late.defer_async(n=sent))


@asynccontextmanager
async def working() -> AsyncGenerator[None]:
    async with app.open_async():
        running = asyncio.create_task(
            app.run_worker_async(queues=[QUEUE], concurrency=CONCURRENCY, install_signal_handlers=False)
        )
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})


if __name__ == "__main__":
    main(install, send, insert, insert_others, insert_later, fetch_nothing, work, latency)
