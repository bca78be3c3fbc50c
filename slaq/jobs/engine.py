"""Procrastinate, as slaq uses it: its tables in slaq's schema, and retries that lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from procrastinate import App, PsycopgConnector, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy

QUEUE = "sla"
EVENTS_QUEUE = "sla-events"


def make_app(conninfo: str, schema: str, connections: int) -> App:
    """An unopened Procrastinate app over ``conninfo``; its tables are found in ``schema``."""
    connector = PsycopgConnector(
        conninfo=conninfo,
        kwargs={"options": f"-c search_path={schema}"},
        min_size=1,
        max_size=connections,
    )
    return App(connector=connector)


def backoff(attempt: int, *, first: float = 2.0, most: float = 600.0) -> timedelta:
    """How long to wait after the ``attempt``-th failure (from 0): doubling, capped; wall-clock."""
    return timedelta(seconds=min(first * 2 ** min(attempt, 30), most))


class KeepTrying(BaseRetryStrategy):
    """Retries with backoff; a job that a shutdown interrupted goes back to the queue at once."""

    def __init__(self, attempts: int, wait: Callable[[int], timedelta] = backoff) -> None:
        self._attempts = attempts
        self._wait = wait

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, (asyncio.CancelledError, JobAborted)):
            return RetryDecision(retry_in=_in(timedelta()))
        if job.attempts + 1 >= self._attempts:
            return None
        return RetryDecision(retry_in=_in(self._wait(job.attempts)))


def _in(wait: timedelta) -> Any:
    return {"seconds": int(wait.total_seconds())}
