"""Both real servers, out of their wheels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from .servers import TemporalServer
from .world import World, open_world, own_queue, reach, skipping_world


@pytest.fixture(autouse=True)
def queue(monkeypatch: pytest.MonkeyPatch) -> str:
    name = own_queue()
    monkeypatch.setenv("TEMPORAL_SLA_TASK_QUEUE", name)
    return name


@pytest.fixture
async def idle_world(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Time can be skipped; nobody works on the task queue. The lead is waited for in real time, hence none."""
    monkeypatch.setattr("slaq.temporal.snapshots.LEAD_MS", 0)
    async with skipping_world(dsn) as world:
        yield world


@pytest.fixture
async def world(idle_world: World) -> AsyncIterator[World]:
    """The same with a worker."""
    async with idle_world.worker():
        yield idle_world


@pytest.fixture
def temporal_server(tmp_path) -> Iterator[TemporalServer]:
    """The full server in real time, with a database file."""
    with TemporalServer(tmp_path / "temporal.db") as server:
        yield server


@pytest.fixture
async def real_world(
    dsn: str, temporal_server: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """The full server and real time; nobody works on the task queue."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    async with open_world(dsn, await reach(), None) as world:
        yield world
