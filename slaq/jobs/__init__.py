"""A job queue on Postgres, and what runs in a worker: the queue's own tasks, the timer, and the loops around them."""

from slaq.jobs.events import Event, EventName
from slaq.jobs.model import (
    DeadLetter,
    InvalidJob,
    Job,
    JobInfo,
    JobState,
    Policy,
    RetryAfter,
    UnknownQueue,
)
from slaq.jobs.queue import JobQueue
from slaq.jobs.sync_queue import SyncJobQueue

__all__ = [
    "DeadLetter",
    "Event",
    "EventName",
    "InvalidJob",
    "Job",
    "JobInfo",
    "JobQueue",
    "JobState",
    "Policy",
    "RetryAfter",
    "SyncJobQueue",
    "UnknownQueue",
]
