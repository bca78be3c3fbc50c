"""What the Enterprise path costs: events of a life, lateness of wakes, and tickets started a second.

    python -m benchmarks temporal

The full Temporal server and a Postgres of its own, all on this machine, which should have nothing else to do: events and
actions are counted and always the same, starts are compared as ratios of neighbours in one run, but the lateness of wakes
is that of the whole machine, so its load is printed with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import psutil
import psycopg
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from slaq.backends.temporal import TemporalSlaBackend
from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.demo.temporal import TemporalServer
from slaq.postgres import APP, EmbeddedPostgres, temporary
from slaq.services.apply import apply
from slaq.services.service import SlaService
from slaq.services.ticket import Ticket
from slaq.store.health import Health
from slaq.store.migrate import grant, migrate
from slaq.store.tenancy import run_with_tenant
from slaq.temporal.client import connect, task_queue
from slaq.temporal.dispatcher import Dispatcher
from slaq.temporal.messages import WORKFLOW, Snapshot, TicketRef, WorkflowInput
from slaq.temporal.settling import Settler
from slaq.temporal.worker import serving

PARTS = ("lives", "wakes", "starts")
RATE = 25
PREPARING = timedelta(seconds=40)
LATE = 250
ROUNDS = 15
STARTS = 150
"""Tickets of a round, by each of the two ways."""
BILLED = ("WORKFLOW_EXECUTION_STARTED", "TIMER_STARTED", "ACTIVITY_TASK_SCHEDULED", "WORKFLOW_EXECUTION_SIGNALED")
DESK = {
    "users": {"ada": {"email": "ada@acme.example"}},
    "priorities": {"high": {}},
    "boards": {"soon": {"policy": "soon"}},
    "policies": {
        "gold": {
            "is_default": True,
            "targets": {"high": {"response": "1000m", "resolution": "3000m", "is_24x7": True, "escalation": {}}},
            "thresholds": {50: {}, 75: {}, 90: {}, 100: {}},
        },
        "soon": {
            "targets": {"high": {"response": "1000m", "is_24x7": True, "escalation": {}}},
            "thresholds": {1: {}},
        },
    },
}


class Desk:
    """An application, a dispatcher and what they need."""

    def __init__(self, pool: AsyncConnectionPool, client: Client) -> None:
        self.pool, self.client = pool, client
        self.clock = FixedClock(None)
        self.service = SlaService(TemporalSlaBackend("slaq"), self.clock)
        self.dispatcher = Dispatcher(pool, "slaq", client, task_queue())

    async def open(self, names: list[str], entered) -> None:
        """Tickets by the hundred, each entered when ``entered(number)`` says."""
        await Health(self.pool, "slaq", "temporal-worker", "enterprise").report(is_up=True)
        for first in range(0, len(names), 100):
            async with self.pool.connection() as conn, conn.transaction():
                self.clock.now = (await (await conn.execute("SELECT clock_timestamp()")).fetchone())[0]
                with run_with_tenant("acme"):
                    for number, name in enumerate(names[first : first + 100], start=first):
                        ticket = Ticket(ticket_id=name, entered_at=entered(number), priority_id="high", board_id="soon")
                        await self.service.sync_ticket(conn, ticket)

    async def drain(self) -> None:
        await self.dispatcher.drain()


async def starts(desk: Desk) -> None:
    """Draining a filled outbox, against bare calls that start the same workflow; nobody works on them.

    The two take turns at being first, and each round's ratio is of neighbours, so that noise passes over both.
    """
    rates: dict[str, list[float]] = {"bare": [], "drained": []}
    for number in range(-1, ROUNDS):  # the first one is not counted
        await desk.open([f"S{number}-{n}" for n in range(STARTS)], lambda _: desk.clock.now)
        ways = {"bare": lambda number=number: call(desk, f"B{number}"), "drained": desk.drain}
        for name in sorted(ways, reverse=bool(number % 2)):
            begun = perf_counter()
            await ways[name]()
            if number >= 0:
                rates[name].append(STARTS / (perf_counter() - begun))
    ratios = sorted(100 * drained / bare for bare, drained in zip(rates["bare"], rates["drained"], strict=True))
    print(f"started by bare calls      {median(rates['bare']):8.0f} tickets/s")
    print(
        f"started from the outbox    {median(rates['drained']):8.0f} tickets/s   {median(ratios):.0f} % of it, the median of"
        f" {ROUNDS} rounds between {ratios[0]:.0f} and {ratios[-1]:.0f} % (goal: 80 % or more)"
    )


async def call(desk: Desk, name: str) -> None:
    """As many bare starts, as many of them at a time."""
    numbers = iter(range(STARTS))

    async def start() -> None:
        for number in numbers:
            snapshot = Snapshot(1, desk.clock.now, wake_at=desk.clock.now + timedelta(days=1))
            await desk.client.start_workflow(
                WORKFLOW, WorkflowInput(TicketRef("acme", f"{name}-{number}"), snapshot), id=f"{name}-{number}",
                task_queue=task_queue(),
            )  # fmt: skip

    await asyncio.gather(*(start() for _ in range(desk.dispatcher.concurrency)))


async def lateness(desk: Desk, processes: Mapping[str, int]) -> None:
    """Wakes at a steady rate: between the crossing and its claim; and the processor time of a wake, wherever it is spent."""
    count = LATE
    start = desk.clock.now + PREPARING
    ahead = timedelta(minutes=10)  # one per cent of 1000 minutes
    async with serving(desk.client, Settler(desk.pool, "slaq")):
        await desk.open(
            [f"L{number}" for number in range(count)], lambda n: start - ahead + timedelta(seconds=n / RATE)
        )
        await desk.drain()
        spare = (start - await _now(desk)).total_seconds() - 1
        print(f"prepared {spare:.0f} s before the first wake")
        await asyncio.sleep(spare)
        before = {name: processor_ms(pid) for name, pid in processes.items()}
        async with desk.pool.connection() as conn:
            for _ in range(600):
                await conn.execute("SELECT set_config('slaq.tenant', 'acme', false)")
                rows = await (await conn.execute(
                    "SELECT extract(epoch FROM noticed_at - crossed_at)::float8 * 1000 FROM slaq.sla_crossings"
                    " WHERE claimed_by = 'temporal' AND ticket_id LIKE 'L%' AND percent = 1 AND phase = 'response'"
                )).fetchall()  # fmt: skip
                if len(rows) == count:
                    break
                await asyncio.sleep(0.5)
        spent = {name: (processor_ms(pid) - before[name]) / count for name, pid in processes.items()}
    values = sorted(row[0] for row in rows)
    cuts = quantiles(values, n=100)
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(
        f"{count} wakes at {RATE}/s: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, most {values[-1]:.0f} ms (goal: p99 under 250 ms);"
        f" load of the machine {load}"
    )
    print("processor time of a wake: " + ", ".join(f"{name} {spent[name]:.1f} ms" for name in spent))


def processor_ms(pid: int) -> float:
    """What a process has used so far, with its children unless it is this one, whose children are the servers."""
    process = psutil.Process(pid)
    children = [] if pid == os.getpid() else process.children(recursive=True)
    return 1000 * sum(sum(one.cpu_times()[:2]) for one in (process, *children))


async def _now(desk: Desk):
    async with desk.pool.connection() as conn:
        return (await (await conn.execute("SELECT clock_timestamp()")).fetchone())[0]


async def lives(dsn: str) -> None:
    """Events and billed actions of whole lives, from real histories, with skipped time."""
    from slaq.demo.temporal import temporal_binary

    path = str(Path(temporal_binary()).with_name("temporal-test-server"))
    async with (
        await WorkflowEnvironment.start_time_skipping(test_server_existing_path=path) as env,
        AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=24, open=False) as pool,
    ):
        desk = Desk(pool, env.client)

        async def clock(_) -> object:
            return await env.get_current_time()

        await Health(pool, "slaq", "temporal-worker", "enterprise").report(is_up=True)
        async with serving(env.client, Settler(pool, "slaq", clock)):
            for name, goal in (("answered and resolved", "28 and 7"), ("breached", "93 and 17"), ("a paused day", "0")):
                desk.clock.now = await env.get_current_time()
                events, actions = await live(desk, env, name)
                print(f"{name:24} {events:4} events {actions:4} actions (goal: {goal} or fewer)")


async def live(desk: Desk, env: WorkflowEnvironment, name: str) -> tuple[int, int]:
    start, handle = desk.clock.now, desk.client.get_workflow_handle(f"sla-ticket-acme-{name}")

    async def at(minutes: float, verb: str | None = None) -> None:
        target = start + timedelta(minutes=minutes)
        await env.sleep(max(target - await env.get_current_time(), timedelta(milliseconds=1)))
        await asyncio.sleep(0.5)
        desk.clock.now = target
        if verb is not None:
            with run_with_tenant("acme"):
                async with desk.pool.connection() as conn, conn.transaction():
                    await getattr(desk.service, verb)(conn, name)
            await desk.drain()

    ticket = Ticket(ticket_id=name, entered_at=start, priority_id="high", assigned_to="ada")
    with run_with_tenant("acme"):
        async with desk.pool.connection() as conn, conn.transaction():
            await desk.service.sync_ticket(conn, ticket)
    await desk.drain()
    before: Counter[str] = Counter()
    if name == "answered and resolved":
        await at(5, "record_first_response")
        await at(1860, "record_resolution")
    elif name == "breached":
        await at(3100)
    else:
        await at(5, "pause_sla")
        await asyncio.sleep(0.5)
        before = await counted(handle)
        await at(5 + 24 * 60)
    await asyncio.sleep(0.5)
    kinds = await counted(handle) - before
    return kinds.total(), sum(kinds[kind] for kind in BILLED)


async def counted(handle) -> Counter[str]:
    from temporalio.api.enums.v1 import EventType

    history = await handle.fetch_history()
    return Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events)


async def measure(dsn: str, server: TemporalServer, postgres: EmbeddedPostgres, parts: Collection[str]) -> None:
    if "lives" in parts:
        await lives(dsn)
    os.environ["TEMPORAL_ADDRESS"] = server.address
    client = await connect("bench")
    async with AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=4, max_size=24, open=False) as pool:
        desk = Desk(pool, client)
        async with pool.connection() as conn:
            desk.clock.now = (await (await conn.execute("SELECT clock_timestamp()")).fetchone())[0]
        if "wakes" in parts:
            await lateness(desk, {"worker": os.getpid(), "Temporal": server.pid, "Postgres": postgres.status().pid})
        if "starts" in parts:
            os.environ["TEMPORAL_SLA_TASK_QUEUE"] = "nobody-works-here"
            await starts(Desk(pool, client))


def main(*parts: str) -> None:
    with temporary() as postgres, tempfile.TemporaryDirectory() as directory:
        postgres.create_database("bench")
        with psycopg.connect(postgres.admin_conninfo("bench"), autocommit=True) as conn:
            migrate(conn, "slaq")
            grant(conn, "slaq", APP, to_worker=True)
        dsn = postgres.conninfo("bench")
        with psycopg.connect(dsn) as conn:
            apply(conn, Configuration.of(DESK, tenant="acme"))
        with TemporalServer(Path(directory) / "temporal.db") as server:
            asyncio.run(measure(dsn, server, postgres, parts or PARTS))


if __name__ == "__main__":
    main(*sys.argv[1:])
