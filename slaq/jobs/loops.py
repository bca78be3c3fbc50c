"""Loops that must outlive any one failure: each is run again when it ends, until a stop is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import psycopg
from procrastinate.exceptions import ConnectorException

from slaq.clock import monotonic
from slaq.errors import SchemaOutdated

_log = logging.getLogger("slaq.worker")

LONGEST_RESTART = 5.0


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``loop`` again whenever it ends before ``stop`` is set, waiting longer each time it ends soon.

    Raises ``SchemaOutdated`` when the database does not fit this release, which no restart mends.
    """
    failures = 0
    while not stop.is_set():
        started = monotonic()
        try:
            await loop()
            if not stop.is_set():
                _log.warning("the %s loop ended by itself and is started again", name)
        except SchemaOutdated:
            raise
        except Exception as error:
            reason = _reason(error)
            if isinstance(reason, psycopg.errors.UndefinedFunction):
                raise SchemaOutdated("the database does not fit this release: run `slaq migrate`") from error
            _log.warning("the %s loop failed and is started again: %s", name, reason)
            _log.debug("why the %s loop failed", name, exc_info=True)
        failures = 0 if monotonic() - started > LONGEST_RESTART else failures + 1
        await sleep(backoff(failures, first=0.25, most=LONGEST_RESTART).total_seconds(), stop)


def backoff(attempt: int, *, first: float, most: float) -> timedelta:
    """How long to wait after the ``attempt``-th failure (from 0): doubling from ``first`` to ``most`` seconds; wall-clock."""
    return timedelta(seconds=min(first * 2 ** min(attempt, 30), most))


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep for ``seconds`` of wall-clock time, or until ``stop`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _reason(error: BaseException) -> BaseException:
    """The first failure of a group, and what the engine's own errors hide."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error
