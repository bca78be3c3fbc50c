"""The job queue beside its peers on one Postgres in one run: no-op jobs, so what counts is the queue.

slaq, pg-boss (where Node is; ``SLAQ_PGBOSS`` names a directory with it in node_modules, else npm fetches it),
pgqueuer (where installed), stock Procrastinate, and hand-written SQL as the floor. Rates are jobs a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from slaq.jobs import JobQueue
from slaq.jobs.runner import QueueWorker
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.store.migrate import grant, migrate

ROUNDS = int(os.environ.get("SLAQ_BENCH_ROUNDS", "3"))
SIZES = {"send": 1000, "bulk": 20_000, "single": 3000, "latency": 100}
PGBOSS = "12.38"
Results = dict[str, float]


async def slaq(dsn: str) -> Results:
    queue, found = JobQueue(), {}
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        for name in ("send", "batches", "singles", "handlers", "latency"):
            await queue.create_queue(conn, name)
        since = time.perf_counter()
        for n in range(SIZES["send"]):
            await queue.send(conn, "send", {"n": n})
        found["one send"] = SIZES["send"] / (time.perf_counter() - since)
        since = time.perf_counter()
        await _fill(queue, conn, "batches", SIZES["bulk"])
        found["bulk insert"] = SIZES["bulk"] / (time.perf_counter() - since)
        since = time.perf_counter()
        while jobs := await queue.fetch(conn, "batches", 100):
            await queue.complete(conn, "batches", jobs)
        found["fetch(100) and complete"] = SIZES["bulk"] / (time.perf_counter() - since)
        found["one by one, 10 at a time"] = await _handled(queue, conn, dsn, "singles", SIZES["single"], None)
        found["batch handlers"] = await _handled(queue, conn, dsn, "handlers", SIZES["bulk"], 100)
        return found | await _latency(queue, conn, dsn)


async def _fill(queue: JobQueue, conn: AsyncConnection[Any], name: str, count: int) -> None:
    for at in range(0, count, 1000):
        await queue.insert(conn, name, [{"data": {"n": at + n}} for n in range(1000)])


async def _handled(
    queue: JobQueue, conn: AsyncConnection[Any], dsn: str, name: str, count: int, batch_size: int | None
) -> float:
    done, seen = asyncio.Event(), 0

    @queue.work(name, batch_size=batch_size)
    async def handler(jobs: Any) -> None:
        nonlocal seen
        seen += 1 if batch_size is None else len(jobs)
        if seen >= count:
            done.set()

    await _fill(queue, conn, name, count)
    async with Working(queue, dsn, name):
        since = time.perf_counter()
        await done.wait()
        return count / (time.perf_counter() - since)


class Working:
    """A worker in this process while the code inside runs."""

    def __init__(self, queue: JobQueue, dsn: str, name: str) -> None:
        self._stop = asyncio.Event()
        self._worker = QueueWorker(queue, dsn, queues=[name], concurrency=10)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._worker.run(self._stop))

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task


async def _latency(queue: JobQueue, conn: AsyncConnection[Any], dsn: str) -> Results:
    times: list[float] = []
    heard = asyncio.Event()

    @queue.work("latency")
    async def handler(job: Any) -> None:
        times.append((time.perf_counter() - job.data) * 1000)
        heard.set()

    async with Working(queue, dsn, "latency"):
        await asyncio.sleep(1)
        for _ in range(SIZES["latency"]):
            await asyncio.sleep(0.02)
            heard.clear()
            await queue.send(conn, "latency", time.perf_counter())
            await heard.wait()
    return _percentiles(times)


def _percentiles(times: list[float]) -> Results:
    times.sort()
    return {
        "latency p50 ms": times[len(times) // 2],
        "latency p99 ms": times[min(len(times) - 1, int(len(times) * 0.99))],
    }


async def procrastinate(dsn: str) -> Results:
    """Stock tables, triggers and worker, in a database of its own."""
    app = App(connector=PsycopgConnector(conninfo=dsn))
    seen, since = 0, 0.0
    heard, times = asyncio.Event(), []

    @app.task(name="noop", queue="noop")
    async def noop(n: int) -> None:  # noqa: ARG001 - the task's argument
        nonlocal seen
        seen += 1

    @app.task(name="late", queue="late")
    async def late(at: float) -> None:
        times.append((time.perf_counter() - at) * 1000)
        heard.set()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        since = time.perf_counter()
        for n in range(SIZES["send"]):
            await noop.defer_async(n=n)
        found = {"one send": SIZES["send"] / (time.perf_counter() - since)}
        since = time.perf_counter()
        for at in range(0, SIZES["bulk"] // 4, 1000):
            await noop.batch_defer_async(*({"n": at + n} for n in range(1000)))
        found["bulk insert"] = SIZES["bulk"] / 4 / (time.perf_counter() - since)
        worker = asyncio.create_task(app.run_worker_async(concurrency=10, install_signal_handlers=False))
        since = time.perf_counter()
        while seen < 2000:  # noqa: ASYNC110 - counted by the task
            await asyncio.sleep(0.005)
        found["one by one, 10 at a time"] = seen / (time.perf_counter() - since)
        worker.cancel()
        await asyncio.wait({worker})
        worker = asyncio.create_task(app.run_worker_async(queues=["late"], install_signal_handlers=False))
        await asyncio.sleep(1)
        for _ in range(SIZES["latency"]):
            await asyncio.sleep(0.02)
            heard.clear()
            await late.defer_async(at=time.perf_counter())
            await heard.wait()
        worker.cancel()
        await asyncio.wait({worker})
    return found | _percentiles(times)


async def floor(dsn: str) -> Results:
    """The least that a queue can be: one table, one index, SKIP LOCKED."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("CREATE TABLE floor (id bigserial PRIMARY KEY, data jsonb)")
        since = time.perf_counter()
        for n in range(SIZES["send"]):
            await conn.execute("INSERT INTO floor (data) VALUES (%s)", [json.dumps({"n": n})])
        found = {"one send": SIZES["send"] / (time.perf_counter() - since)}
        since = time.perf_counter()
        for at in range(0, SIZES["bulk"], 1000):
            batch = json.dumps([{"n": at + n} for n in range(1000)])
            await conn.execute("INSERT INTO floor (data) SELECT * FROM jsonb_array_elements(%s)", [batch])
        found["bulk insert"] = SIZES["bulk"] / (time.perf_counter() - since)
        claim = "DELETE FROM floor WHERE id = ANY (ARRAY(SELECT id FROM floor ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)) RETURNING id, data"
        since, taken = time.perf_counter(), 0
        while rows := await (await conn.execute(claim, [100])).fetchall():
            taken += len(rows)
        found["fetch(100) and complete"] = taken / (time.perf_counter() - since)
    return found


async def pgqueuer(dsn: str) -> Results:
    """pgqueuer over psycopg: enqueueing, and its worker one by one with ten at a time."""
    from datetime import timedelta

    from pgqueuer.db import PsycopgDriver
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries

    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        driver = PsycopgDriver(conn)
        queries = Queries(driver)
        await queries.install()
        since = time.perf_counter()
        for _ in range(SIZES["send"]):
            await queries.enqueue("other", b'{"n": 1}')
        found = {"one send": SIZES["send"] / (time.perf_counter() - since)}
        since = time.perf_counter()
        for _ in range(0, SIZES["single"], 1000):
            await queries.enqueue(["noop"] * 1000, [b'{"n": 1}'] * 1000, [0] * 1000)
        found["bulk insert"] = SIZES["single"] / (time.perf_counter() - since)
        manager, seen = QueueManager(queries), 0

        @manager.entrypoint("noop", concurrency_limit=10)
        async def noop(job: Any) -> None:  # noqa: ARG001 - the entry point's argument
            nonlocal seen
            seen += 1
            if seen == SIZES["single"]:
                found["one by one, 10 at a time"] = seen / (time.perf_counter() - since)
                manager.shutdown.set()

        since = time.perf_counter()
        with contextlib.suppress(TimeoutError):  # its loop does not always end when it is told to
            await asyncio.wait_for(manager.run(dequeue_timeout=timedelta(seconds=1), batch_size=10), 30)
    return found


def _pg_boss() -> str | None:
    if os.environ.get("SLAQ_PGBOSS"):
        return os.environ["SLAQ_PGBOSS"]
    if shutil.which("npm") is None:
        return None
    target = tempfile.mkdtemp(prefix="pgboss-")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", target, f"pg-boss@{PGBOSS}"]
    return target if subprocess.run(command, check=False, capture_output=True, timeout=120).returncode == 0 else None


def pg_boss(modules: str) -> Callable[[str], Awaitable[Results]]:
    async def measure(dsn: str) -> Results:
        where = conninfo_to_dict(dsn)
        connection: dict[str, Any] = {"host": where["host"], "user": where["user"], "database": where["dbname"]}
        if "port" in where:
            connection["port"] = int(where["port"])
        script = Path(__file__).with_name("jobs_pgboss.mjs")
        command = ["node", str(script), modules, json.dumps(connection), json.dumps(SIZES)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)  # noqa: ASYNC221 - it is alone
        return json.loads(done.stdout)

    return measure


def _peers() -> dict[str, Callable[[str], Awaitable[Results]]]:
    peers: dict[str, Callable[[str], Awaitable[Results]]] = {
        "slaq": slaq,
        "Procrastinate": procrastinate,
        "SQL floor": floor,
    }
    modules = _pg_boss()
    if modules:
        peers["pg-boss"] = pg_boss(modules)
    else:
        print("pg-boss is left out: no Node, or npm could not fetch it")
    wanted = os.environ.get("SLAQ_BENCH_PEERS")
    if wanted:
        return {name: peer for name, peer in peers.items() if name in wanted.split(",")}
    try:
        import pgqueuer as _  # noqa: F401
    except ImportError:
        print("pgqueuer is left out: it is not installed")
    else:
        peers["pgqueuer"] = pgqueuer
    return peers


def _measure(server: EmbeddedPostgres, name: str, peer: Callable[[str], Awaitable[Results]]) -> Results:
    database = server.create_database(f"bench_{name.lower().replace(' ', '_').replace('-', '_')}_{time.monotonic_ns()}")
    try:
        if name == "slaq":
            with psycopg.connect(server.admin_conninfo(database), autocommit=True) as conn:
                migrate(conn, "slaq")
                grant(conn, "slaq", APP, to_worker=True)
        dsn = server.conninfo(database) if name == "slaq" else make_conninfo(server.conninfo(database), user="postgres")
        return asyncio.run(peer(dsn))
    finally:
        server.drop_database(database)


def main() -> None:
    logging.disable(logging.WARNING)
    peers = _peers()
    samples: dict[tuple[str, str], list[float]] = defaultdict(list)
    with temporary() as server:
        for _ in range(ROUNDS):
            for name, peer in peers.items():
                print(f"measuring {name}", flush=True)
                for what, value in _measure(server, name, peer).items():
                    samples[what, name].append(value)
    print(f"median of {ROUNDS}; x is slaq's share: how many times as fast as the peer\n")
    print(f"{'':26}" + "".join(f"{name:>22}" for name in peers))
    for what in dict.fromkeys(what for what, _ in samples):
        ours = statistics.median(samples[what, "slaq"]) if (what, "slaq") in samples else None
        cells = []
        for name in peers:
            if (what, name) not in samples:
                cells.append(f"{'-':>22}")
                continue
            value = statistics.median(samples[what, name])
            ratio = (
                "" if ours is None or name == "slaq" else f" ({(value / ours if ' ms' in what else ours / value):.2f}x)"
            )
            cells.append(f"{value:>12,.{1 if ' ms' in what else 0}f}{ratio:>10}")
        print(f"{what:26}" + "".join(cells))
