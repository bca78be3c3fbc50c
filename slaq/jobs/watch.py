"""How the poller minds Temporal's tickets: how long it lets them be overdue, and what it says of it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import attrs
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.clock import monotonic
from slaq.config import Settings
from slaq.jobs.loops import sleep
from slaq.jobs.timer import Timer
from slaq.store.health import INTERVAL, Health

_log = logging.getLogger("slaq.worker")

SHORT_GRACE = timedelta(seconds=2)
"""How long an alarm of Temporal's may be overdue once nobody vouches for Temporal; wall-clock."""
WAKING = timedelta(seconds=15)
"""For how long after Temporal's return that goes on: workflows need some seconds to wake from an outage."""


async def watch_temporal(
    pool: AsyncConnectionPool[AsyncConnection[Any]], settings: Settings, timer: Timer, stop: asyncio.Event
) -> None:
    """Say that this worker lives, and keep the poller's grace fitting, until ``stop`` is set."""
    health = Health(pool, settings.schema, "worker", settings.edition)
    watch = Watch(health, timer, timedelta(seconds=settings.grace))
    try:
        while not stop.is_set():
            await watch.look(monotonic())
            await sleep(INTERVAL, stop)
    finally:
        await health.retire()


@attrs.define
class Watch:
    """What a worker knows of Temporal, and makes of it."""

    health: Health
    timer: Timer
    longest: timedelta
    """The grace while Temporal is up."""
    _was_up: bool | None = None
    _is_short_until: float = float("-inf")

    async def look(self, at: float) -> None:
        """Report, and fit the grace to what was found; ``at`` is the instant in seconds of a monotonic clock."""
        is_up = await self.health.report(is_up=False)
        if not is_up:
            self._is_short_until = at + WAKING.total_seconds()
        self.timer.grace = min(SHORT_GRACE, self.longest) if at < self._is_short_until else self.longest
        if is_up is not self._was_up:
            self._tell(is_up=is_up)
        self._was_up = is_up

    def _tell(self, *, is_up: bool) -> None:
        """Log a change of state, once."""
        if self.health.edition == "community":
            if is_up:
                _log.warning(
                    "this worker's edition is community, but a worker vouches for Temporal: set SLAQ_EDITION alike"
                )
        elif not is_up:
            _log.warning(
                "no worker vouches for Temporal: the poller takes its tickets %g s after they are due",
                self.timer.grace.total_seconds(),
            )
        elif self._was_up is False:
            _log.warning(
                "Temporal is back: in %g s the poller goes back to taking its tickets %g s after they are due",
                WAKING.total_seconds(), self.longest.total_seconds(),
            )  # fmt: skip
