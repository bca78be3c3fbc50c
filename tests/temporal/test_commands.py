"""The commands as processes: their exit codes, what they print, how they stop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import urllib.error
import urllib.request

import psycopg
import pytest
from click.testing import CliRunner

from slaq.commands.temporal import temporal, temporal_worker
from slaq.demo.temporal import TemporalServer
from slaq.temporal.reconciler import Reconciler

from .processes import Process, processes
from .test_operators import open_now
from .test_outages import FAST, told_by, vouched
from .test_outages import open_now as open_unsent
from .world import World, eventually


async def test_sigterm_lets_a_crossing_that_runs_be_told(
    real_world: World, temporal_server: TemporalServer, tmp_path, superuser_dsn: str
) -> None:
    """The activity is held up by somebody else's lock, and asked to stop meanwhile."""
    world = real_world
    await world.configure(FAST)
    await world.health.retire()
    with processes(world.dsn, temporal_server.address, tmp_path, "temporal-worker") as running:
        worker = running["temporal-worker"]
        await eventually(lambda: vouched(world), what="the worker vouches")
        await open_unsent(world, "T1")
        await eventually(lambda: told_by(world, "temporal"), what="Temporal tells")
        async with await psycopg.AsyncConnection.connect(superuser_dsn) as holder:
            await holder.execute("SELECT FROM slaq.sla_alarms FOR UPDATE")
            before = await told_by(world, "temporal")
            await eventually(lambda: is_held_up(world), what="an activity waits for the lock")
            stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
            await eventually(lambda: asyncio.to_thread(worker.said, "stopping: what runs is finished"))
        assert await stopping == 0
        assert await told_by(world, "temporal") > before


async def is_held_up(world: World) -> bool:
    rows = await world.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'slaq worker'"
        " AND wait_event_type = 'Lock'"
    )
    return rows[0][0] == 1


async def test_metrics_of_the_sdk_are_served_on_request(dsn: str, temporal_server: TemporalServer, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = f"temporal-worker --metrics 127.0.0.1:{port}"
    with processes(dsn, temporal_server.address, tmp_path, command) as running:
        worker: Process = running[command]

        def scraped() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return answer.read().decode()
            except (urllib.error.URLError, ConnectionError):
                return ""

        async def shows(words: str) -> bool:
            return words in await asyncio.to_thread(scraped)

        await eventually(lambda: shows("temporal_num_pollers{"))
        await eventually(lambda: shows('operation="DescribeTaskQueue"'), what="the calls of the health check, too")
        assert await asyncio.to_thread(worker.stop) == 0


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:{taken}"])
def test_metrics_that_cannot_be_served_are_refused(address: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAQ_DATABASE_URL", dsn)
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = address.format(taken=other.getsockname()[1])
        done = CliRunner().invoke(temporal_worker, ["--metrics", where])
    assert done.exit_code == 2
    assert "--metrics" in done.output


async def test_progress_is_shown_on_a_terminal(real_world: World, temporal_server: TemporalServer, tmp_path) -> None:
    world = real_world
    async with world.worker():
        await open_now(world, "T1", "T2")
        master, slave = os.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "slaq", "temporal", "restart", "--all-open", "--rate", "1000",
            stdout=asyncio.subprocess.PIPE, stderr=slave, env=environment(world, temporal_server.address),
        )  # fmt: skip
        os.close(slave)
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"asked for 2 workflows\n")
        shown = os.read(master, 65536).decode()
        os.close(master)
        assert "1 tickets looked at, 1 asked for\r2 tickets looked at, 2 asked for" in shown


def environment(world: World, address: str) -> dict[str, str]:
    return {**os.environ, "SLAQ_DATABASE_URL": world.dsn, "SLAQ_EDITION": "enterprise", "TEMPORAL_ADDRESS": address,
            "SLAQ_LOG_LEVEL": "ERROR"}  # fmt: skip


async def test_requests_are_spread_over_time(real_world: World) -> None:
    world, pauses = real_world, []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with world.worker():
        await open_now(world, "T1", "T2", "T3")
        await world.handle("T2").terminate("lost")
        mending = Reconciler(world.pool, "slaq", world.client, rate=5, pause=pause)
        assert await mending.restart_all() == 3
        assert pauses == [0.2, 0.2, 0.2], "one after each request"


@pytest.mark.parametrize("command", ["reconcile", "restart --all-open", "adopt"])
def test_a_temporal_that_is_not_there_is_told(command: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAQ_DATABASE_URL", dsn)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    done = CliRunner().invoke(temporal, command.split())
    assert done.exit_code == 1
    assert "Temporal cannot be reached" in done.output


@pytest.mark.parametrize("command", [temporal, temporal_worker])
def test_an_installation_without_temporalio_says_what_to_install(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "temporalio", None)
    done = CliRunner().invoke(command, ["adopt"] if command is temporal else [])
    assert done.exit_code == 1
    assert "pip install 'slaq[temporal]'" in done.output
