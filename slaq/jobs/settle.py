"""Telling Postgres what came of jobs, many in one round trip, until it has heard it.

Whoever has something to tell waits; a single task takes whatever has gathered while it told the last.
An outage makes it wait and try again: the fence keeps a late word from doing harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from slaq.jobs import verbs
from slaq.jobs.calls import Call, run_call_async, run_together
from slaq.jobs.execute import Outcome

_log = logging.getLogger("slaq.jobs")
_LONGEST_WAIT = 5.0
OUTAGE = (psycopg.OperationalError, PoolTimeout, OSError)


@attrs.define
class Settler:
    """The acknowledgements of one worker."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    schema: str
    ahead: Callable[[], list[int]]
    """The jobs that will be claimed but not begun, once what is being settled is."""
    worker_id: int = attrs.field(default=0, init=False)
    told_ahead: list[int] = attrs.field(factory=list, init=False)
    """What Postgres believes of that. A job must have left it before it begins."""
    _pending: list[tuple[Sequence[Outcome], asyncio.Future[Mapping[int, str]]]] = attrs.field(factory=list, init=False)
    _task: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _telling: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def settle(self, outcomes: Sequence[Outcome]) -> Mapping[int, str]:
        """Return once Postgres knows: how jobs ended (``completed``, ``retried``, ``failed``), by id.

        A job that was settled by somebody else meanwhile is not among them.
        """
        told: asyncio.Future[Mapping[int, str]] = asyncio.get_running_loop().create_future()
        self._pending.append((outcomes, told))
        if self._task is None:
            self._task = asyncio.create_task(self._flush(), name="settle jobs")
        return await told

    async def tell_ahead(self) -> None:
        """Tell which jobs are claimed but not begun, without a settlement."""
        if isinstance(ended := await self._tell_all([]), Exception):
            raise ended

    async def drain(self) -> None:
        """Wait until nothing is left to tell."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _flush(self) -> None:
        try:
            while self._pending:
                taken, self._pending = self._pending, []
                calls = _calls([outcome for outcomes, _ in taken for outcome in outcomes])
                ended = await self._tell_all(calls)
                for _, told in taken:
                    if told.cancelled():
                        continue
                    if isinstance(ended, Exception):
                        told.set_exception(ended)
                    else:
                        told.set_result(ended)
        finally:
            self._task = None

    async def _tell_all(self, calls: list[Call[Any]]) -> Mapping[int, str] | Exception:
        async with self._telling:
            left = self.ahead()
            if left == self.told_ahead:
                return await self._tell(calls) if calls else {}
            ended = await self._tell([*calls, verbs.note_ahead(self.worker_id, left)])
            if not isinstance(ended, Exception):
                self.told_ahead = left
            return ended

    async def _tell(self, calls: Sequence[Call[Any]]) -> Mapping[int, str] | Exception:
        wait = 0.1
        while True:
            try:
                async with self.pool.connection() as conn:
                    if len(calls) == 1:
                        found = [await run_call_async(conn, calls[0], self.schema)]
                    else:
                        found = await run_together(conn, calls, self.schema)
                return {job: how for part in found if part is not None for job, how in part.items()}
            except OUTAGE as error:
                _log.warning("%d settlements could not be told yet: %s", len(calls), error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except Exception as error:
                _log.exception("%d settlements failed; their jobs expire", len(calls))
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
