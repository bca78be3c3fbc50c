"""The queue for async code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, Unpack

from psycopg import AsyncConnection

from slaq.jobs import managing, verbs
from slaq.jobs.calls import Call, run_call_async
from slaq.jobs.handlers import Handlers
from slaq.jobs.model import (
    CommandResult,
    Duration,
    FindFilter,
    Job,
    JobInfo,
    JobInsert,
    LaterOptions,
    Match,
    PlainOptions,
    Policy,
    QueueInfo,
    QueueOptions,
    QueueStats,
    Redrivable,
    RedriveFilter,
    Schedule,
    SendOptions,
    Swept,
    Upserted,
)
from slaq.jobs.schedule import preview_schedule
from slaq.jobs.upkeep import STALE
from slaq.jobs.verbs import Ids
from slaq.store.queries import DEFAULT_SCHEMA, checked_schema

T = TypeVar("T")


class JobQueue(Handlers):
    """A job queue on Postgres, for async code.

    Every verb takes the caller's connection first, of any ``search_path`` and autocommit or not, and joins
    its transaction; inside one, a call that raises leaves it usable. A job that a policy or a taken slot
    refuses is None, not an error. Raises ``InvalidJob`` for a value that cannot be, ``UnknownQueue`` with
    near names, ``TransactionRequired`` when the transaction has failed already.
    """

    def __init__(self, schema: str = DEFAULT_SCHEMA) -> None:
        super().__init__()
        self.schema = checked_schema(schema)

    async def _do(self, conn: AsyncConnection[Any], call: Call[T]) -> T:
        return await run_call_async(conn, call, self.schema)

    async def create_queue(
        self,
        conn: AsyncConnection[Any],
        name: str,
        *,
        policy: Policy | str = Policy.STANDARD,
        **options: Unpack[QueueOptions],
    ) -> bool:
        """Make a queue; one of that name stays as it is. Returns whether it is new."""
        return await self._do(conn, managing.create_queue(name, policy, options))

    async def update_queue(self, conn: AsyncConnection[Any], name: str, **options: Unpack[QueueOptions]) -> None:
        """Change settings of a queue (not its policy); None puts one back to the default. Jobs that exist keep theirs."""
        return await self._do(conn, managing.update_queue(name, options))

    async def delete_queue(self, conn: AsyncConnection[Any], name: str) -> bool:
        """Delete a queue with its jobs, schedules and subscriptions; returns whether there was one."""
        return await self._do(conn, managing.delete_queue(name))

    async def get_queues(self, conn: AsyncConnection[Any]) -> list[QueueInfo]:
        """All queues, by name."""
        return await self._do(conn, managing.get_queues())

    async def get_queue(self, conn: AsyncConnection[Any], name: str) -> QueueInfo | None:
        """The queue of that name."""
        found = await self._do(conn, managing.get_queues(name))
        return found[0] if found else None

    async def get_queue_stats(self, conn: AsyncConnection[Any], name: str | None = None) -> list[QueueStats]:
        """How many jobs each queue has, or one."""
        return await self._do(conn, managing.get_queue_stats(name))

    async def send(
        self, conn: AsyncConnection[Any], queue: str, data: Any = None, **options: Unpack[SendOptions]
    ) -> int | None:
        """Add a job; its id, or None when the queue's policy refuses it."""
        return await self._do(conn, verbs.send(queue, data, options))

    async def send_after(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        data: Any,
        start_after: Duration | datetime,
        **options: Unpack[LaterOptions],
    ) -> int | None:
        """Add a job that starts at an instant or after a while, at the earliest."""
        return await self._do(conn, verbs.send(queue, data, {**options, "start_after": start_after}))

    async def send_throttled(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        data: Any = None,
        *,
        seconds: Duration,
        **options: Unpack[LaterOptions],
    ) -> int | None:
        """Add a job unless its key had one in this slot of ``seconds``, aligned to the epoch.

        A job that has run still holds its slot; one that was cancelled or deleted does not.
        """
        return await self._do(conn, verbs.send(queue, data, options, (seconds, False)))

    async def send_debounced(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        data: Any = None,
        *,
        seconds: Duration,
        **options: Unpack[LaterOptions],
    ) -> int | None:
        """Like ``send_throttled``; when this slot is taken, add one job that starts with the next."""
        return await self._do(conn, verbs.send(queue, data, options, (seconds, True)))

    async def insert(
        self, conn: AsyncConnection[Any], queue: str, jobs: Iterable[JobInsert | Mapping[str, Any]]
    ) -> list[int | None]:
        """Add many jobs in one statement: mappings with ``data`` and options. Ids in order, None where refused."""
        return await self._do(conn, verbs.insert(queue, jobs))

    async def update(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        *,
        id: int | None = None,
        key: str | None = None,
        match: Match = "newest",
        **changes: Any,
    ) -> CommandResult:
        """Change ``data`` and options of a job that still waits, by id or by key (``match``: newest, oldest or all)."""
        return await self._do(
            conn, verbs.update(queue, {"id": id} if id is not None else {"key": key, "match": match}, changes)
        )

    async def upsert(
        self, conn: AsyncConnection[Any], queue: str, data: Any, **options: Unpack[SendOptions]
    ) -> Upserted:
        """Give the waiting job of this key new data and options, or add one: the latest payload wins."""
        return await self._do(conn, verbs.upsert(queue, data, options))

    async def fetch(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        limit: int = 1,
        *,
        group_concurrency: int | Mapping[str, Any] | None = None,
        min_priority: int | None = None,
        max_priority: int | None = None,
        ignore_start_after: bool = False,
    ) -> list[Job]:
        """Claim up to ``limit`` jobs, the most urgent first; settle them with ``complete`` or ``fail``.

        Nobody watches who fetches by hand: the job comes back after its ``expire_in``, or when it has a
        ``heartbeat`` and is not touched in time.
        """
        return await self._do(
            conn,
            verbs.fetch(
                queue, limit, groups=group_concurrency, least=min_priority, most=max_priority, early=ignore_start_after
            ),
        )

    async def complete(
        self, conn: AsyncConnection[Any], queue: str, jobs: Ids, output: Any = None, *, include_queued: bool = False
    ) -> CommandResult:
        """Complete active jobs; a ``Job`` only in the attempt it was fetched in."""
        return await self._do(conn, verbs.complete(queue, jobs, output, queued=include_queued))

    async def fail(self, conn: AsyncConnection[Any], queue: str, jobs: Ids, output: Any = None) -> CommandResult:
        """Fail jobs that wait or run: they are retried, or are over with a copy to the dead-letter queue."""
        return await self._do(conn, verbs.fail(queue, jobs, output))

    async def touch(self, conn: AsyncConnection[Any], queue: str, jobs: Ids) -> CommandResult:
        """A sign of life of jobs fetched by hand."""
        return await self._do(conn, verbs.touch(queue, jobs))

    async def cancel(self, conn: AsyncConnection[Any], queue: str, jobs: Ids) -> CommandResult:
        """Cancel jobs that wait or run; a running async handler is interrupted."""
        return await self._do(conn, verbs.command("cancel", queue, jobs))

    async def resume(self, conn: AsyncConnection[Any], queue: str, jobs: Ids) -> CommandResult:
        """Let cancelled jobs wait again."""
        return await self._do(conn, verbs.command("resume", queue, jobs))

    async def retry(self, conn: AsyncConnection[Any], queue: str, jobs: Ids) -> CommandResult:
        """Give failed jobs one more run."""
        return await self._do(conn, verbs.command("retry", queue, jobs))

    async def delete_job(self, conn: AsyncConnection[Any], queue: str, jobs: Ids) -> int:
        """Delete jobs in whatever state; how many there were."""
        return await self._do(conn, managing.delete(queue, jobs))

    async def delete_jobs(self, conn: AsyncConnection[Any], queue: str, states: Iterable[str] | None = None) -> int:
        """Delete all jobs of a queue, or those in these states."""
        return await self._do(conn, managing.delete(queue, None, states))

    async def get_job(self, conn: AsyncConnection[Any], queue: str, id: int) -> JobInfo | None:
        """All that is known of a job."""
        found = await self._do(conn, managing.find(queue, 1, {"ids": [id]}))
        return found[0] if found else None

    async def find_jobs(
        self, conn: AsyncConnection[Any], queue: str | None = None, limit: int = 1000, **wanted: Unpack[FindFilter]
    ) -> list[JobInfo]:
        """Jobs in order of id, after an id: by ids, key, states, and data that contains ``data``."""
        return await self._do(conn, managing.find(queue, limit, wanted))

    async def get_blocked_keys(self, conn: AsyncConnection[Any], queue: str) -> list[str]:
        """Keys of a ``key_strict_fifo`` queue that a failed job blocks."""
        return await self._do(conn, managing.blocked_keys(queue))

    async def redrive(
        self, conn: AsyncConnection[Any], queue: str, limit: int = 1000, **wanted: Unpack[RedriveFilter]
    ) -> int:
        """Send dead letters back to where they came from, or to ``destination``; how many moved.

        One that the policy there refuses fails where it is, with the reason as its output.
        """
        return await self._do(conn, managing.redrive(queue, limit, wanted))

    async def preview_redrive(
        self, conn: AsyncConnection[Any], queue: str, limit: int = 1000, **wanted: Unpack[RedriveFilter]
    ) -> list[Redrivable]:
        """The dead letters that a redrive would move."""
        return await self._do(conn, managing.preview_redrive(queue, limit, wanted))

    async def schedule(
        self,
        conn: AsyncConnection[Any],
        queue: str,
        cron: str,
        data: Any = None,
        *,
        tz: str = "UTC",
        key: str = "",
        missed: str = "skip",
        job_key: str | None = None,
        **options: Unpack[PlainOptions],
    ) -> None:
        """Send a job at each tick of a cron line in a zone; ``key`` tells several of one queue apart.

        Where the options have no key of their own, the jobs have none. ``missed="once"`` makes up for ticks
        that no worker was there for, with one job for the newest.
        """
        return await self._do(
            conn, managing.schedule(queue, cron, data, tz=tz, key=key, missed=missed, job_key=job_key, options=options)
        )

    async def unschedule(self, conn: AsyncConnection[Any], queue: str, key: str = "") -> bool:
        """Remove a schedule; returns whether there was one."""
        return await self._do(conn, managing.unschedule(queue, key))

    async def get_schedules(self, conn: AsyncConnection[Any], queue: str | None = None) -> list[Schedule]:
        """All schedules, or a queue's."""
        return await self._do(conn, managing.get_schedules(queue))

    async def preview_schedule(
        self, conn: AsyncConnection[Any], cron: str, *, tz: str = "UTC", after: datetime | None = None, count: int = 5
    ) -> list[datetime]:
        """The next ``count`` ticks of a cron line after an instant (default: now, by the database), in the zone's time."""
        return preview_schedule(cron, tz=tz, after=after or await self._do(conn, managing.now()), count=count)

    async def publish(
        self, conn: AsyncConnection[Any], event: str, data: Any = None, **options: Unpack[SendOptions]
    ) -> list[int]:
        """Send a job to each queue subscribed to ``event``, all or none; those whose policy refuses are left out."""
        return await self._do(conn, verbs.publish(event, data, options))

    async def subscribe(self, conn: AsyncConnection[Any], event: str, queue: str) -> None:
        """Let ``publish(event)`` send to a queue."""
        return await self._do(conn, managing.subscribe(event, queue))

    async def unsubscribe(self, conn: AsyncConnection[Any], event: str, queue: str) -> bool:
        """End a subscription; returns whether there was one."""
        return await self._do(conn, managing.unsubscribe(event, queue))

    async def supervise(self, conn: AsyncConnection[Any], stale: timedelta = STALE) -> Swept:
        """Settle what no worker will: stalled and expired jobs; delete what was kept long enough. Workers do so by themselves."""
        swept = await self._do(conn, managing.sweep(stale))
        deleted = await self._do(conn, managing.delete_old()) or {"deleted": 0, "retained": 0}
        stats = await self._do(conn, managing.get_queue_stats())
        long = tuple(each.name for each in stats if each.ready > each.warning_size)
        return Swept(swept["stalled"], swept["expired"], deleted["deleted"], deleted["retained"], long)
