"""The only module that asks what time it is; everything else is handed an instant.

In a caller's transaction and in workers the clock is the database's, read when the ticket's lock is
held, so that all processes agree. Tests hand in a ``FixedClock``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import attrs


class Clock(Protocol):
    """Says what time it is, given the database's instant of the same moment."""

    def read(self, database_now: datetime) -> datetime: ...


class DatabaseClock:
    """The database's own time."""

    def read(self, database_now: datetime) -> datetime:
        return database_now


@attrs.define
class FixedClock:
    """Stands still until it is moved: for tests and replays."""

    now: datetime

    def read(self, database_now: datetime) -> datetime:
        return self.now

    def advance(self, duration: timedelta) -> None:
        """Move the clock by ``duration`` of wall-clock time."""
        self.now += duration


@attrs.frozen
class Reading:
    """The database's time, carried on by this process's monotonic clock between two questions."""

    database_now: datetime
    taken_at: float = attrs.field(factory=time.monotonic)

    @property
    def now(self) -> datetime:
        return self.database_now + timedelta(seconds=time.monotonic() - self.taken_at)


def utc_now() -> datetime:
    """The time of the machine, for people and logs; never for a deadline."""
    return datetime.now(UTC)  # noqa: TID251 - here and nowhere else


def monotonic() -> float:
    """Seconds that only ever grow, for measuring waits."""
    return time.monotonic()
