"""Finding tickets whose workflow is missing or behind, and asking for it again through the outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import attrs
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from slaq.temporal.client import CALL, PATIENCE
from slaq.temporal.messages import WORKFLOW
from slaq.temporal.postgres import Pool, database_now, fetch

_log = logging.getLogger("slaq.temporal")

INTERVAL = 600.0
"""Seconds between two reconciliations: how long an open ticket may be without a run, at the most."""
RATE = 20.0
"""Requests a second, so that mending an installation does not flood it."""
_PAGE = 500
_LOOK = 5.0
_RUNNING = f"WorkflowType='{WORKFLOW}' AND ExecutionStatus='Running'"

Progress: TypeAlias = Callable[[int, int], None]
"""Told after each ticket: how many were looked at, how many were asked for."""


@attrs.frozen
class Candidate:
    """An open ticket of one owner."""

    tenant: str
    ticket_id: str
    workflow_id: str | None
    is_behind: bool
    is_waiting: bool


def _quiet(seen: int, requested: int) -> None: ...


@attrs.frozen
class Reconciler:
    """Compares the open tickets with the running workflows."""

    pool: Pool
    schema: str
    client: Client
    rate: float = RATE
    progress: Progress = _quiet
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def reconcile(self) -> int:
        """Ask for every run that is missing or behind; how many."""
        running = await self._running()
        return await self._request("temporal", lambda one: self._needs_run(one, running))

    async def restart_all(self) -> int:
        """Replace the run of every open ticket that Temporal owns."""
        return await self._request("temporal", None, is_restart=True)

    async def adopt(self) -> int:
        """Take the open tickets of the poller over to Temporal."""
        return await self._request("polling", None, is_adopted=True)

    async def run(self, stop: asyncio.Event, is_up: Callable[[], bool]) -> None:
        """Reconcile every ten minutes, and soon after Temporal came back."""
        wait, was_up = 0.0, False
        while not stop.is_set():
            if is_up() and (not was_up or wait <= 0):
                mended = await self.reconcile()
                if mended:
                    _log.warning("%d open tickets had no workflow, or one behind: asked for it", mended)
                wait = INTERVAL
            was_up = is_up()
            try:
                await asyncio.wait_for(stop.wait(), _LOOK)
            except TimeoutError:
                wait -= _LOOK

    async def _request(
        self,
        backend: str,
        needs: Callable[[Candidate], Awaitable[bool]] | None,
        *,
        is_restart: bool = False,
        is_adopted: bool = False,
    ) -> int:
        seen = requested = 0
        async for one in self._open(backend):
            seen += 1
            if needs is None or await needs(one):
                async with self.pool.connection() as conn:
                    rows = await fetch(
                        conn, self.schema, "request_run", tenant=one.tenant, ticket=one.ticket_id,
                        is_restart=is_restart, is_adopted=is_adopted, now=await database_now(conn, self.schema),
                    )  # fmt: skip
                requested += bool(rows[0][0])
                await self.pause(1 / self.rate)
            self.progress(seen, requested)
        return requested

    async def _open(self, backend: str) -> AsyncIterator[Candidate]:
        """The open tickets of an owner, a page at a time."""
        after = ("", "")
        while True:
            async with self.pool.connection() as conn:
                rows = await fetch(
                    conn, self.schema, "open_tickets_of", backend=backend, tenant=after[0], ticket=after[1], limit=_PAGE
                )
            for row in rows:
                yield Candidate(*row)
            if len(rows) < _PAGE:
                return
            after = (rows[-1][0], rows[-1][1])

    async def _running(self) -> set[str] | None:
        """The ids of the runs that Temporal lists, possibly a little stale; ``None`` when it cannot list."""
        try:
            return {run.id async for run in self.client.list_workflows(_RUNNING, page_size=1000, rpc_timeout=CALL)}
        except RPCError as error:
            if error.status is not RPCStatusCode.UNIMPLEMENTED:
                raise
            return None

    async def _needs_run(self, one: Candidate, running: set[str] | None) -> bool:
        if one.is_waiting:
            return False
        if one.is_behind or one.workflow_id is None:
            return True
        return (running is None or one.workflow_id not in running) and not await self._is_running(one.workflow_id)

    async def _is_running(self, workflow_id: str) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                described = await self.client.get_workflow_handle(workflow_id).describe(rpc_timeout=CALL)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING
