"""slaq's own jobs: the tick of the poller, mails, events for the application, and bringing tickets in line.

They are jobs of the queue like any other, in queues that the migration makes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.config import Settings
from slaq.delivery.outgoing import deliver, retry_in
from slaq.delivery.transport import Transport
from slaq.jobs.handlers import Handlers
from slaq.jobs.model import Job, RetryAfter
from slaq.jobs.resync import RESYNC, resync
from slaq.jobs.timer import Timer
from slaq.services.verbs import Verbs

_log = logging.getLogger("slaq.jobs")

TIMER = "sla-timer"
MAIL = "sla-send-email"
EVENT = "sla-threshold-reached"

OnThreshold: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None] | None]
"""An application's handler of ``sla-threshold-reached``; may be called twice, with the same ``event_id``."""


def log_threshold(event: Mapping[str, Any]) -> None:
    """What is done with an event when no application handles it."""
    _log.info(
        "ticket %s: %s %s %s %% at %s",
        event["ticket_id"], event["phase"], event["kind"], event["percent"], event["crossed_at"],
    )  # fmt: skip


def own_handlers(
    settings: Settings,
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    verbs: Verbs,
    timer: Timer,
    transport: Transport,
    on_threshold: OnThreshold = log_threshold,
) -> Handlers:
    """The handlers of slaq's queues."""
    own = Handlers()

    @own.work(TIMER)
    async def sla_timer(job: Job) -> None:  # noqa: ARG001 - the tick says no more than that it is time
        done = await timer.sweep()
        if done.leased:
            _log.info(
                "sla-timer settled %d tickets, told %d crossings, failed %d", done.settled, done.told, done.failed
            )

    @own.work(RESYNC)
    async def sla_resync(job: Job) -> None:
        await resync(pool, verbs, settings.schema, **job.data)

    @own.work(MAIL)
    async def sla_send_email(job: Job) -> str:
        try:
            return await deliver(pool, transport, settings, attempt=job.attempt, **job.data)
        except Exception as error:
            raise RetryAfter(retry_in(job.attempt), str(error)) from error

    @own.work(EVENT)
    def sla_threshold_reached(job: Job) -> Any:
        return on_threshold(job.data)  # in a thread, for it may block, and the timer must not; a coroutine is awaited

    return own
