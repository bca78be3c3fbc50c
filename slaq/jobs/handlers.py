"""Which function handles the jobs of which queue, and who listens to what becomes of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from slaq.jobs import options as check
from slaq.jobs.events import Listeners
from slaq.jobs.model import InvalidJob

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class Handler:
    """A function with how it wants its jobs."""

    queue: str
    function: Callable[..., Any]
    batch_size: int | None
    """None: one job a call; else up to so many, as a list."""
    groups: Mapping[str, Any] | None
    concurrency: int | None
    """None: as many calls at a time as the worker runs."""
    is_async: bool


class Handlers(Listeners):
    """The handlers of an application, and its listeners."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[str, Handler] = {}

    def work(
        self,
        queue: str,
        *,
        batch_size: int | None = None,
        concurrency: int | None = None,
        group_concurrency: int | Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Let the decorated function, async or sync, handle the jobs of ``queue``; it is called with a ``Job``.

        With ``batch_size`` it gets a list of up to so many jobs; what it raises fails all of them, and it may
        return a mapping from job id to result, in which an exception fails that job alone. What is returned
        is kept as the job's output. ``raise DeadLetter(...)`` fails for good, ``raise RetryAfter(...)``
        chooses the wait. After ``expire_in`` an async handler is cancelled; a sync one cannot be stopped,
        but sees ``job.aborted`` set, and what it still does has no effect on its job. ``concurrency`` limits
        the calls at a time in one worker, ``group_concurrency`` the active jobs of a group in all of them:
        a number, or ``{"default": n, "tiers": {tier: n}}``.
        """
        check.queue_name(queue)
        if queue in self.handlers:
            raise InvalidJob(f"queue {queue!r} has a handler already: {self.handlers[queue].function!r}")
        size = None if batch_size is None else check.whole(batch_size, "batch_size", 1, 10_000)
        limit = None if concurrency is None else check.whole(concurrency, "concurrency", 1, 10_000)
        groups = {"default": group_concurrency} if isinstance(group_concurrency, int) else group_concurrency

        def register(function: F) -> F:
            if not callable(function):
                raise InvalidJob(f"the handler of queue {queue!r} is {function!r}, which cannot be called")
            is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
                getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
            )
            self.handlers[queue] = Handler(queue, function, size, groups, limit, is_async)
            return function

        return register
