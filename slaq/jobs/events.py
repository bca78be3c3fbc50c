"""What an application may listen to: how jobs end, and what a worker has to complain of."""

from __future__ import annotations

import inspect
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar, cast, overload

import attrs

from slaq.jobs.model import InvalidJob, Job

_log = logging.getLogger("slaq.jobs")


class EventName(StrEnum):
    """What can be listened to."""

    COMPLETED = "completed"
    RETRIED = "retried"
    """A run failed, and the job will be tried again."""
    FAILED = "failed"
    """A run failed, and it was the last."""
    DEAD_LETTERED = "dead_lettered"
    """It failed for good, and a copy went to its dead-letter queue; told beside ``failed``."""
    WARNING = "warning"
    """A long queue, jobs that nobody settled, a schedule that cannot be read, a queue that is missing."""
    ERROR = "error"
    """A loop of the worker failed and is started again."""
    STOPPED = "stopped"
    """The worker has ended."""


@attrs.frozen
class Event:
    """One thing that happened in a worker; ``job`` and ``output`` for those about a job."""

    name: EventName
    message: str
    queue: str | None = None
    job: Job | None = None
    output: Any = None


Listener: TypeAlias = Callable[[Event], Awaitable[None] | None]
L = TypeVar("L", bound=Listener)


class Listeners:
    """Who listens to what. A listener that raises is logged and harms nobody."""

    def __init__(self) -> None:
        self._listeners: dict[EventName, list[Listener]] = defaultdict(list)

    @overload
    def on(self, event: EventName | str) -> Callable[[L], L]: ...
    @overload
    def on(self, event: EventName | str, listener: L) -> L: ...
    def on(self, event: EventName | str, listener: Any = None) -> Any:
        """Call ``listener``, async or sync, with each ``Event`` of that name in this process's worker.

        A decorator when ``listener`` is left out. It runs on the worker's loop, after Postgres knows: be quick.
        Told are the ends of runs in this worker; what a sweep settles for a worker that died is a ``warning``.
        """
        try:
            name = EventName(event)
        except ValueError:
            raise InvalidJob(f"event {event!r} is none of {', '.join(EventName)}") from None
        if listener is None:
            return lambda function: self.on(name, function)
        if not callable(listener):
            raise InvalidJob(f"the listener to {name!r} is {listener!r}, which cannot be called")
        self._listeners[name].append(cast("Listener", listener))
        return listener

    def has_listeners(self, *names: EventName) -> bool:
        return any(self._listeners.get(name) for name in names)

    async def emit(self, event: Event) -> None:
        """Tell everybody who listens."""
        for listener in self._listeners.get(event.name, ()):
            try:
                result = listener(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                _log.exception("a listener to %s failed", event.name)

    async def warn(self, message: str, queue: str | None = None) -> None:
        """Log a warning, and tell who listens to warnings."""
        _log.warning("%s", message)
        await self.emit(Event(EventName.WARNING, message, queue))
