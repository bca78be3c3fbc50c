from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg import AsyncConnection

from slaq.jobs import JobQueue
from slaq.jobs.runner import QueueWorker
from slaq.jobs.testing import JobSpy


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[AsyncConnection[Any]]:
    """An autocommit connection of the application."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def queue(conn: AsyncConnection[Any]) -> JobQueue:
    """A queue object, with queues ``q`` and ``dlq``."""
    queue = JobQueue()
    await queue.create_queue(conn, "dlq")
    await queue.create_queue(conn, "q", dead_letter="dlq")
    return queue


@pytest.fixture
async def spy(dsn: str) -> AsyncIterator[JobSpy]:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield JobSpy(conn)


@asynccontextmanager
async def working(queue: JobQueue, dsn: str, **settings: Any) -> AsyncIterator[asyncio.Event]:
    """A worker beside the test, stopped at the end."""
    stop = asyncio.Event()
    worker = QueueWorker(queue, dsn, **{"polling_interval": 0.2, "upkeep_interval": 0.3, **settings})
    task = asyncio.create_task(worker.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
