"""How the poller minds Temporal's tickets: how long it lets them be overdue, and what it says of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.config import Settings
from slaq.jobs.timer import Timer
from slaq.store.health import INTERVAL, Health

_log = logging.getLogger("slaq.worker")

SHORT_GRACE = timedelta(seconds=2)
"""How long an alarm of Temporal's may be overdue once nobody vouches for Temporal; wall-clock."""


async def watch_temporal(
    pool: AsyncConnectionPool[AsyncConnection[Any]], settings: Settings, timer: Timer, stop: asyncio.Event
) -> None:
    """Say that this worker lives, and keep the poller's grace fitting, until ``stop`` is set."""
    health = Health(pool, settings.schema, "worker", settings.edition)
    was_up: bool | None = None
    longest = timedelta(seconds=settings.grace)
    try:
        while not stop.is_set():
            is_up = await health.report(is_up=False)
            timer.grace = longest if is_up else min(SHORT_GRACE, longest)
            if is_up is not was_up:
                _tell(settings, timer, is_up=is_up, was_up=was_up)
            was_up = is_up
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL)
    finally:
        await health.retire()


def _tell(settings: Settings, timer: Timer, *, is_up: bool, was_up: bool | None) -> None:
    """Log a change of state, once."""
    if settings.edition == "community":
        if is_up:
            _log.warning(
                "this worker's edition is community, but a worker vouches for Temporal: set SLAQ_EDITION alike"
            )
    elif not is_up:
        _log.warning("no worker vouches for Temporal: the poller takes its tickets %s after they are due", timer.grace)
    elif was_up is False:
        _log.warning("Temporal is back: the poller takes its tickets %s after they are due", timer.grace)
