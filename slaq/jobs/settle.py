"""Telling Postgres what came of jobs, many in one statement, until it has heard it.

Whoever has something to tell waits; a single task takes whatever has gathered while it told the last.
An outage makes it wait and try again: the fence keeps a late word from doing harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from slaq.jobs import verbs
from slaq.jobs.calls import Call, run_call_async
from slaq.jobs.execute import Outcome

_log = logging.getLogger("slaq.jobs")
_LONGEST_WAIT = 5.0
OUTAGE = (psycopg.OperationalError, PoolTimeout, OSError)


@attrs.define
class Settler:
    """The acknowledgements of one worker."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    schema: str
    _pending: list[tuple[Sequence[Outcome], asyncio.Future[None]]] = attrs.field(factory=list, init=False)
    _task: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Return once Postgres knows."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((outcomes, told))
        if self._task is None:
            self._task = asyncio.create_task(self._flush(), name="settle jobs")
        await told

    async def drain(self) -> None:
        """Wait until nothing is left to tell."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _flush(self) -> None:
        try:
            while self._pending:
                taken, self._pending = self._pending, []
                error = await self._tell([outcome for outcomes, _ in taken for outcome in outcomes])
                for _, told in taken:
                    if told.cancelled():
                        continue
                    if error is None:
                        told.set_result(None)
                    else:
                        told.set_exception(error)
        finally:
            self._task = None

    async def _tell(self, outcomes: list[Outcome]) -> Exception | None:
        wait = 0.1
        while True:
            try:
                async with self.pool.connection() as conn:
                    for call in _calls(outcomes):
                        await run_call_async(conn, call, self.schema)
                return None
            except OUTAGE as error:
                _log.warning("%d jobs could not be settled yet: %s", len(outcomes), error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except Exception as error:
                _log.exception("%d jobs could not be settled; they expire", len(outcomes))
                return error


def _calls(outcomes: list[Outcome]) -> list[Call[Any]]:
    groups: dict[tuple[str, bool], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.job.queue, outcome.is_done].append(outcome)
    return [_call(queue, group, is_done=is_done) for (queue, is_done), group in groups.items()]


def _call(queue: str, outcomes: list[Outcome], *, is_done: bool) -> Call[Any]:
    ids = [outcome.job.id for outcome in outcomes]
    attempts = [outcome.job.attempt for outcome in outcomes]
    texts = [outcome.output for outcome in outcomes]
    kept = texts if any(text is not None for text in texts) else None
    if is_done:
        return verbs.complete_each(queue, ids, attempts, kept)
    final = [outcome.is_final for outcome in outcomes]
    return verbs.fail_each(queue, ids, attempts, kept, final, [outcome.retry_in for outcome in outcomes])
