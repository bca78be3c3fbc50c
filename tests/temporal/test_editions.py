"""Applications and workers that disagree about the edition are told so, each where its own log is."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import Connection

from slaq.backends.select import SlaBackendFactory
from slaq.config import Settings
from slaq.configuration import Configuration
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.services.ticket import Ticket
from slaq.store.health import Health
from slaq.store.tenancy import run_with_tenant
from slaq.temporal.worker import run_temporal_worker

from .world import DESK, START, eventually


@pytest.fixture
async def health(dsn: str):
    """Of a worker whose edition is community."""
    from slaq.jobs.worker import open_pool

    async with open_pool(dsn, 1) as pool:
        yield Health(pool, "slaq", "worker", "community")


async def test_an_enterprise_application_hears_of_a_community_worker_once(
    app_conn: Connection, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    apply(app_conn, Configuration.parse(DESK))
    backend = SlaBackendFactory(Settings(edition="enterprise")).get_backend()
    temporal = Health(health.pool, "slaq", "temporal-worker", "enterprise")

    async def warned(*names: str, is_up: bool = False) -> list[str]:
        """What it is told while it opens these tickets."""
        await temporal.report(is_up=is_up)
        caplog.clear()
        with run_with_tenant("acme"), app_conn.transaction():
            for name in names:
                SyncSlaService(backend).sync_ticket(app_conn, Ticket(ticket_id=name, entered_at=START.replace(year=2026),
                                                                     priority_id="high", board_id="desk"))  # fmt: skip
        return [record.getMessage() for record in caplog.records if record.name == "slaq"]

    assert await warned("T1") == ["no worker vouches for Temporal: new tickets are polled until one does"]
    assert await warned("T2") == [], "once per change of state"
    assert await warned("T3", is_up=True) == ["Temporal is back: new tickets get workflows again"]
    await health.report(is_up=False)
    down, edition = await warned("T4", "T5")
    assert "no worker vouches" in down
    assert edition == "this application's edition is enterprise, but a worker's is community: set SLAQ_EDITION alike"
    await warned("T6", is_up=True)
    assert len(await warned("T7")) == 1, "the edition is not told of again"


async def test_a_temporal_worker_says_that_its_edition_is_community(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    said: list[list[str]] = []
    for edition in ("community", "enterprise"):
        caplog.clear()
        stop = asyncio.Event()
        working = asyncio.create_task(run_temporal_worker(Settings(edition=edition), dsn, stop))
        await eventually(lambda: asyncio.sleep(0, "waiting for it" in caplog.text))
        stop.set()
        await working
        said.append([record.getMessage() for record in caplog.records if "edition" in record.getMessage()])
    assert said == [
        ["edition is community: applications give no tickets to Temporal unless theirs is enterprise"],
        [],
    ]
