"""The least that a queue can be: one table, one index, SKIP LOCKED, a notification; by slaq's driver.

It keeps no attempts, retries or history: what a queue does beyond it costs the difference.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from psycopg import AsyncConnection

from benchmarks.queues.peer import CONCURRENCY, FETCHED, Drain, Trickle, in_bulk, main, one_after_another

SEND = "INSERT INTO jobs (data) VALUES (%s)"
CLAIM = """
    UPDATE jobs SET active = true
    WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE NOT active ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING id, data
"""
SETTLE = "DELETE FROM jobs WHERE id = ANY (%s)"


async def connect() -> AsyncConnection[Any]:
    return await AsyncConnection.connect(autocommit=True)


async def install(_: int) -> list[float]:
    async with await connect() as conn:
        await conn.execute("CREATE TABLE jobs (id bigserial PRIMARY KEY, active boolean DEFAULT false, data jsonb)")
        await conn.execute("CREATE INDEX ON jobs (id) WHERE NOT active")
    return []


async def send(count: int) -> list[float]:
    async with await connect() as conn:
        return await one_after_another(count, lambda n: conn.execute(SEND, [json.dumps({"n": n})]))


async def insert(count: int) -> list[float]:
    async with await connect() as conn:
        many = "INSERT INTO jobs (data) SELECT * FROM jsonb_array_elements(%s)"
        return await in_bulk(count, lambda batch: conn.execute(many, [json.dumps(batch)]))


async def fetch(count: int, loops: int = CONCURRENCY, fetched: int = FETCHED) -> list[float]:
    drain = Drain(count)

    async def loop(conn: AsyncConnection[Any]) -> None:
        while rows := await (await conn.execute(CLAIM, [fetched])).fetchall():
            drain.handled(len(rows))
            await conn.execute(SETTLE, [[job for job, _ in rows]])

    async with AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(await connect()) for _ in range(loops)]
        await asyncio.gather(*map(loop, conns))
    return await drain.rate()


async def fetch_alone(count: int) -> list[float]:
    return await fetch(count, 1)


async def work(count: int) -> list[float]:
    return await fetch(count, fetched=1)


async def latency(count: int) -> list[float]:
    trickle = Trickle()

    async def listen(listening: AsyncConnection[Any], working: AsyncConnection[Any]) -> None:
        await listening.execute("LISTEN jobs")
        async for _ in listening.notifies():
            for job, sent in await (await working.execute(CLAIM, [CONCURRENCY])).fetchall():
                trickle.started(sent)
                await working.execute(SETTLE, [[job]])

    async with await connect() as sending, await connect() as listening, await connect() as working:
        worker = asyncio.create_task(listen(listening, working))
        notified = f"WITH sent AS ({SEND}) SELECT pg_notify('jobs', '')"
        times = await trickle.run(count, lambda sent: sending.execute(notified, [json.dumps(sent)]))
        worker.cancel()
        await asyncio.wait({worker})
    return times


if __name__ == "__main__":
    main(install, send, insert, fetch, fetch_alone, work, latency)
