"""The jobs of slaq, by the names under which SQL and applications enqueue them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from procrastinate import App, JobContext
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.config import Settings
from slaq.delivery.outgoing import deliver, retry_in
from slaq.delivery.transport import Transport
from slaq.jobs.engine import EVENTS_QUEUE, QUEUE, KeepTrying
from slaq.jobs.resync import resync
from slaq.jobs.timer import Timer
from slaq.services.verbs import Verbs

_log = logging.getLogger("slaq.jobs")

OnThreshold: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None] | None]
"""An application's handler of ``sla-threshold-reached``; may be called twice, with the same ``event_id``."""

_KEPT = timedelta(days=30)


def log_threshold(event: Mapping[str, Any]) -> None:
    """What is done with an event when no application handles it."""
    _log.info(
        "ticket %s: %s %s %s %% at %s",
        event["ticket_id"],
        event["phase"],
        event["kind"],
        event["percent"],
        event["crossed_at"],
    )


def add_tasks(
    app: App,
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    verbs: Verbs,
    timer: Timer,
    transport: Transport,
    on_threshold: OnThreshold = log_threshold,
) -> None:
    """Register slaq's tasks on ``app``."""

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="sla-timer", queue=QUEUE, queueing_lock="sla-timer", retry=KeepTrying(attempts=1))
    async def sla_timer(timestamp: int) -> None:  # noqa: ARG001 - the engine passes the tick; all that is due is taken
        done = await timer.sweep()
        if done.leased:
            _log.info(
                "sla-timer settled %d tickets, told %d crossings, failed %d", done.settled, done.told, done.failed
            )

    @app.periodic(cron="17 3 * * *")
    @app.task(name="sla-upkeep", queue=QUEUE, queueing_lock="sla-upkeep", retry=KeepTrying(attempts=1))
    async def sla_upkeep(timestamp: int) -> None:  # noqa: ARG001
        await app.job_manager.delete_old_jobs(
            nb_hours=int(_KEPT.total_seconds() // 3600),
            include_failed=True,
            include_cancelled=True,
            include_aborted=True,
        )

    @app.task(name="sla-resync", queue=QUEUE, retry=KeepTrying(attempts=20))
    async def sla_resync(tenant: str, after: str = "", tickets: list[str] | None = None) -> None:
        await resync(pool, verbs, settings.schema, tenant, after, tickets)

    @app.task(
        name="sla-send-email", queue=QUEUE, pass_context=True, retry=KeepTrying(settings.mail_attempts + 1, retry_in)
    )
    async def sla_send_email(context: JobContext, tenant: str, ticket_id: str, delivery_id: str) -> None:
        await deliver(
            pool,
            transport,
            settings,
            tenant=tenant,
            ticket_id=ticket_id,
            delivery_id=delivery_id,
            attempt=context.job.attempts,
        )

    @app.task(name="sla-threshold-reached", queue=EVENTS_QUEUE, retry=KeepTrying(attempts=20))
    async def sla_threshold_reached(**event: Any) -> None:
        if inspect.iscoroutinefunction(on_threshold):
            await on_threshold(event)
            return
        result = await asyncio.to_thread(on_threshold, event)  # it may block, and the timer must not
        if inspect.isawaitable(result):
            await result
