"""Running a handler: its time limit, what it returned or raised, and what that means for its jobs."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import attrs

from slaq.jobs import options as check
from slaq.jobs.handlers import Handler
from slaq.jobs.model import DeadLetter, InvalidJob, Job, RetryAfter

_log = logging.getLogger("slaq.jobs")
_LONGEST_TRACE = 4000

TIMED_OUT = {"message": "job timed out"}
SHUT_DOWN = {"message": "worker shut down while active"}


@attrs.frozen
class Outcome:
    """What came of one run of one job. ``output`` is JSON text, or None for nothing."""

    job: Job
    is_done: bool
    output: str | None
    is_final: bool = False
    retry_in: float | None = None


class Claim:
    """The jobs of one call of a handler, and their outcomes once it has ended.

    A plain class with a short repr: the engine logs and copies the arguments of its tasks.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.outcomes: list[Outcome] | None = None

    def __repr__(self) -> str:
        return f"<{len(self.jobs)} jobs>"

    def abort(self) -> None:
        """Let sync handlers know that their runs are over."""
        for job in self.jobs:
            job.aborted.set()


async def perform(handler: Handler, claim: Claim, threads: Executor) -> None:
    """Call ``handler`` with the jobs of ``claim`` and note the outcomes; raises only when it is cancelled."""
    limit = min(job.expire_in for job in claim.jobs)
    given: Any = claim.jobs[0] if handler.batch_size is None else list(claim.jobs)
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            result = await _called(handler, given, threads)
    except Exception as error:
        expired = isinstance(error, TimeoutError) and timer.expired()
        if expired:
            claim.abort()
        claim.outcomes = [failure(job, error, expired=expired) for job in claim.jobs]
        return
    except BaseException:
        claim.abort()
        raise
    if handler.batch_size is None or not isinstance(result, Mapping):
        output = _output(result, claim.jobs[0])
        claim.outcomes = [Outcome(job, is_done=True, output=output) for job in claim.jobs]
    else:
        claim.outcomes = [_of_batch(job, result) for job in claim.jobs]


async def _called(handler: Handler, given: Any, threads: Executor) -> Any:
    if handler.is_async:
        return await handler.function(given)
    for job in given if handler.batch_size is not None else (given,):
        _ = job.aborted  # made here, so that both threads see the same one
    call = partial(contextvars.copy_context().run, handler.function, given)
    result = await asyncio.get_running_loop().run_in_executor(threads, call)
    return await result if inspect.isawaitable(result) else result


def _of_batch(job: Job, results: Mapping[Any, Any]) -> Outcome:
    result = results.get(job.id)
    return (
        failure(job, result)
        if isinstance(result, Exception)
        else Outcome(job, is_done=True, output=_output(result, job))
    )


def failure(job: Job, error: BaseException, *, expired: bool = False) -> Outcome:
    """What it means that ``error`` ended a run."""
    match error:
        case asyncio.CancelledError():
            output: Any = SHUT_DOWN
        case _ if expired:
            output = TIMED_OUT
        case _:
            trace = "".join(traceback.format_exception(error))[-_LONGEST_TRACE:]
            output = {
                "name": type(error).__name__,
                "message": str(error).replace("\x00", ""),
                "traceback": trace.replace("\x00", ""),
            }
    _log.info("job %d of queue %s failed in attempt %d: %s", job.id, job.queue, job.attempt, output["message"])
    return Outcome(
        job,
        is_done=False,
        output=check.payload(output),
        is_final=isinstance(error, DeadLetter),
        retry_in=error.seconds if isinstance(error, RetryAfter) else None,
    )


def _output(result: Any, job: Job) -> str | None:
    """``result`` as JSON; the job is done all the same when it is none."""
    if result is None:
        return None
    try:
        return check.payload(result, "output")
    except InvalidJob as error:
        _log.warning("job %d of queue %s is done, but what it returned is not kept: %s", job.id, job.queue, error)
        return check.payload({"message": f"not kept: {error}"})
