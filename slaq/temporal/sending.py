"""Telling a workflow how its ticket stands: one call, or two when a start finds a run."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from slaq.temporal.client import CALL, PATIENCE
from slaq.temporal.messages import WORKFLOW, TicketRef, WorkflowInput
from slaq.temporal.snapshots import Outgoing


async def send(client: Client, queue: str, row: Outgoing) -> None:
    """Deliver one row of the outbox; raises when it may not have arrived.

    Repeating it does no harm: the snapshot carries its version.
    """
    async with asyncio.timeout(PATIENCE):
        if row.snapshot.is_over:
            await _tell_end(client, row)
        elif row.is_restart:
            await _start(client, queue, row, WorkflowIDConflictPolicy.TERMINATE_EXISTING)
        elif row.change == "start":
            try:
                await _start(client, queue, row, WorkflowIDConflictPolicy.FAIL)
            except WorkflowAlreadyStartedError:
                await _signal_with_start(client, queue, row)
        else:
            await _signal_with_start(client, queue, row)


async def _tell_end(client: Client, row: Outgoing) -> None:
    """A plain signal, since nothing needs to be started to be ended; no run is as good as an ended one."""
    try:
        handle = client.get_workflow_handle(row.workflow_id)
        await handle.signal(_signal(row), row.snapshot, rpc_timeout=CALL)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def _signal_with_start(client: Client, queue: str, row: Outgoing) -> None:
    await client.start_workflow(
        WORKFLOW,
        WorkflowInput(_ticket(row), row.snapshot),
        id=row.workflow_id,
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=_signal(row),
        start_signal_args=[row.snapshot],
        **_shown(row),
    )


async def _start(client: Client, queue: str, row: Outgoing, policy: WorkflowIDConflictPolicy) -> None:
    await client.start_workflow(
        WORKFLOW,
        WorkflowInput(_ticket(row), row.snapshot),
        id=row.workflow_id,
        task_queue=queue,
        id_conflict_policy=policy,
        **_shown(row),
    )


def _shown(row: Outgoing) -> dict[str, Any]:
    """What Temporal's web UI shows of a run."""
    return {"static_summary": row.summary, "memo": row.memo, "rpc_timeout": CALL}


def _signal(row: Outgoing) -> str:
    return "refresh" if row.change == "start" else row.change


def _ticket(row: Outgoing) -> TicketRef:
    return TicketRef(row.tenant, row.ticket_id)
