"""What the queue speaks of: jobs, queues, schedules, and what can go wrong with them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypedDict

import attrs

from slaq.errors import InputError

Duration: TypeAlias = timedelta | float
"""A timedelta, or seconds."""


class InvalidJob(InputError):
    """A queue, job or schedule was refused at the call: the message names the value."""


class UnknownQueue(InputError):
    """No queue of that name; the message lists names like it."""


class DeadLetter(Exception):
    """Raise in a handler: fail this job for good now, whatever retries remain."""


class RetryAfter(Exception):
    """Raise in a handler: try again after ``delay`` (if retries remain) instead of the usual one."""

    def __init__(self, delay: Duration, reason: str = "asked to be retried later") -> None:
        self.seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        super().__init__(reason)


class JobState(StrEnum):
    """Where a job stands; the names are pg-boss's."""

    CREATED = "created"
    RETRY = "retry"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Policy(StrEnum):
    """How many jobs of one key (of the whole queue, for jobs without a key) there may be at a time."""

    STANDARD = "standard"
    """Any number."""
    SHORT = "short"
    """One created; any number active or waiting for a retry."""
    SINGLETON = "singleton"
    """One active; any number waiting."""
    STATELY = "stately"
    """One created, one waiting for its retry, one active."""
    EXCLUSIVE = "exclusive"
    """One created, waiting for its retry or active."""
    KEY_STRICT_FIFO = "key_strict_fifo"
    """In order, one at a time; a failed job blocks its key until it is retried or deleted. Needs a key."""


class PlainOptions(TypedDict, total=False):
    """What one job may have of its own; what is left out is its queue's. Durations are timedeltas or seconds."""

    priority: int
    """Higher first; default 0."""
    retry_limit: int
    """Runs after the first; default 2."""
    retry_delay: Duration
    """Wait before a retry; default 0."""
    retry_backoff: bool
    """Double the wait each time, with jitter."""
    retry_delay_max: Duration
    """The longest wait; with ``retry_backoff`` only."""
    expire_in: Duration
    """Longest run; default 15 minutes."""
    heartbeat: Duration
    """Longest silence of a job fetched by hand; see ``touch``."""
    retention: Duration
    """How long it may wait before it is deleted; default 14 days."""
    delete_after: Duration
    """How long it is kept once settled; default 7 days, 0: for ever."""
    dead_letter: str
    """The queue that gets a copy when it fails for good."""
    group: str | Mapping[str, str]
    """The group whose concurrency a worker may limit; a mapping has ``id`` and ``tier``."""
    trace: Mapping[str, str]
    """Trace context, handed to the handler."""


class LaterOptions(PlainOptions, total=False):
    """Options of a job whose start is given apart."""

    key: str
    """What policies, throttling, updates and searches go by."""


class SendOptions(LaterOptions, total=False):
    """All options of a job."""

    start_after: Duration | datetime
    """Not before this instant (aware), or after this long."""


class RedriveFilter(TypedDict, total=False):
    """Which dead letters are meant, and where they go."""

    destination: str
    """A queue to send them to, instead of where they came from."""
    source: str
    ids: Iterable[int]
    data: Any
    """Only letters whose data contains this."""
    created_before: datetime
    """Only older letters (aware)."""


class FindFilter(TypedDict, total=False):
    """Which jobs are looked for; all that is given must hold."""

    ids: Iterable[int]
    key: str
    data: Any
    """Contained in the job's data."""
    states: Iterable[str]
    after: int
    """Only ids above this one."""


class QueueOptions(TypedDict, total=False):
    """What the jobs of a queue get unless they have it of their own."""

    retry_limit: int
    retry_delay: Duration
    retry_backoff: bool
    retry_delay_max: Duration
    expire_in: Duration
    heartbeat: Duration
    retention: Duration
    delete_after: Duration
    dead_letter: str | None
    warning_size: int


class JobInsert(SendOptions, total=False):
    """One job of a bulk ``insert``."""

    data: Any


Match: TypeAlias = Literal["newest", "oldest", "all"]


@attrs.frozen
class Job:
    """A job in the hands of a handler, or fetched by hand."""

    id: int
    queue: str
    data: Any
    priority: int
    attempt: int
    """Runs that have ended before this one; the fence of whoever settles it."""
    metadata: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @cached_property
    def aborted(self) -> threading.Event:
        """Set once this run has expired, or was cancelled or shut down; a sync handler that goes on for long should look."""
        return threading.Event()

    @property
    def key(self) -> str | None:
        return self.metadata.get("key")

    @property
    def source(self) -> Mapping[str, Any] | None:
        """Where a dead letter came from: ``queue``, ``id``, ``retry_count``, ``output``, ``created_at``, ``root_id``."""
        return self.metadata.get("source")

    @property
    def expire_in(self) -> float:
        """Longest run, in seconds."""
        return float(self.metadata.get("expire_in", 900))


@attrs.frozen
class JobInfo:
    """All that is known of a job."""

    id: int
    queue: str
    state: JobState = attrs.field(converter=JobState)
    data: Any
    key: str | None
    priority: int
    attempts: int
    retry_count: int
    retry_limit: int
    created_at: datetime
    start_after: datetime
    started_at: datetime | None
    completed_at: datetime | None
    output: Any
    metadata: Mapping[str, Any]
    worker_id: int | None


@attrs.frozen
class QueueInfo:
    """A queue and the settings its jobs get."""

    name: str
    policy: Policy = attrs.field(converter=Policy)
    dead_letter: str | None
    warning_size: int
    options: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@attrs.frozen
class QueueStats:
    """How many jobs a queue has; ``queued`` includes ``deferred``."""

    name: str
    queued: int
    deferred: int
    ready: int
    active: int
    completed: int
    failed: int
    cancelled: int
    total: int
    oldest_ready: datetime | None
    """When the oldest ready job could have started."""
    warning_size: int


@attrs.frozen
class Schedule:
    """A cron line that sends jobs to a queue."""

    queue: str
    key: str
    cron: str
    zone: str
    missed: str
    data: Any
    options: Mapping[str, Any]
    last_tick: datetime | None
    created_at: datetime


@attrs.frozen
class CommandResult:
    """How many jobs a command named, and which it changed."""

    requested: int
    ids: tuple[int, ...]

    @property
    def affected(self) -> int:
        return len(self.ids)


@attrs.frozen
class Upserted:
    """What an upsert did."""

    jobs: tuple[int, ...]
    updated: int
    inserted: int


@attrs.frozen
class Redrivable:
    """A dead letter and where a redrive would send it."""

    id: int
    source: str | None
    destination: str


@attrs.frozen
class Swept:
    """What a pass of ``supervise`` did, in jobs; ``backlogged`` are queues longer than their warning size."""

    stalled: int
    expired: int
    deleted: int
    retained: int
    backlogged: tuple[str, ...] = ()
