"""The verbs of the queue as calls: input checked, statement named, answer read. Both faces of the queue run these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from slaq.jobs import options as check
from slaq.jobs.calls import Call, nothing, scalar
from slaq.jobs.model import (
    CommandResult,
    InvalidJob,
    Job,
    Upserted,
)
from slaq.store.database import Row

Ids: TypeAlias = int | Job | Sequence[int] | Sequence[Job]
"""One job or many, by id; a ``Job`` carries its attempt, which fences what is said about it."""


def send(queue: str, data: Any, options: Mapping[str, Any], slot: tuple[Any, bool] | None = None) -> Call[int | None]:
    """``slot`` is the length of a throttle slot and whether the next one may be used."""
    chosen = check.send_options(options)
    if slot is not None:
        if "start_after" in chosen:
            raise InvalidJob(f"start_after {options['start_after']!r} does not go with a slot of time")
        chosen |= {"throttle": check.seconds(slot[0], "seconds"), "next_slot": slot[1]}
    parameters = {"queue": check.queue_name(queue), "data": check.payload(data), "options": json.dumps(chosen)}
    return Call("send", parameters, scalar)


def insert(queue: str, jobs: Iterable[Mapping[str, Any]]) -> Call[list[int | None]]:
    parts = [_inserted(position, job) for position, job in enumerate(jobs)]
    return Call("insert", {"queue": check.queue_name(queue), "jobs": f"[{','.join(parts)}]"}, scalar)


def _inserted(position: int, job: Mapping[str, Any]) -> str:
    try:
        data = check.payload(job.get("data"))
        if len(job) <= 1 and "data" in job:
            return f'{{"data":{data}}}'
        chosen = check.send_options({name: value for name, value in job.items() if name != "data"})
    except InvalidJob as error:
        raise InvalidJob(f"job {position} of the insert: {error}") from None
    return f'{{"data":{data},"options":{json.dumps(chosen)}}}'


def publish(event: str, data: Any, options: Mapping[str, Any]) -> Call[list[int]]:
    parameters = {
        "event": check.text(event, "event"),
        "data": check.payload(data),
        "options": json.dumps(check.send_options(options)),
    }
    return Call("publish", parameters, scalar)


def update(queue: str, selector: Mapping[str, Any], changes: Mapping[str, Any]) -> Call[CommandResult]:
    """``selector`` has ``id``, or ``key`` and ``match``; ``changes`` may have ``data`` and send options."""
    if selector.get("match", "newest") not in ("newest", "oldest", "all"):
        raise InvalidJob(f"match {selector['match']!r} is none of newest, oldest, all")
    wanted: dict[str, Any] = {"options": check.send_options({k: v for k, v in changes.items() if k != "data"})}
    data = f',"data":{check.payload(changes["data"])}' if "data" in changes else ""
    parameters = {
        "queue": check.queue_name(queue),
        "selector": json.dumps(selector),
        "changes": f"{json.dumps(wanted)[:-1]}{data}}}",
    }
    return Call("update", parameters, lambda rows: CommandResult(1, tuple(rows[0][0])))


def upsert(queue: str, data: Any, options: Mapping[str, Any]) -> Call[Upserted]:
    parameters = {
        "queue": check.queue_name(queue),
        "data": check.payload(data),
        "options": json.dumps(check.send_options(options)),
    }
    return Call("upsert", parameters, _upserted)


def _upserted(rows: list[Row]) -> Upserted:
    answer = rows[0][0]
    return Upserted(tuple(answer["jobs"]), answer["updated"], answer["inserted"])


def fetch(
    queue: str,
    limit: int = 1,
    *,
    worker: int = 0,
    groups: Mapping[str, Any] | int | None = None,
    least: int | None = None,
    most: int | None = None,
    early: bool = False,
    ahead: int = 0,
) -> Call[list[Job]]:
    """``groups`` limits the active jobs of a group: a number, or ``{"default": n, "tiers": {tier: n}}``; ``ahead`` more are begun later."""
    limits = {"default": check.whole(groups, "group_concurrency", 1, 100_000)} if isinstance(groups, int) else groups
    parameters = {
        "queue": check.queue_name(queue), "limit": check.whole(limit, "limit", 0 if ahead else 1, 100_000), "worker": worker,
        "groups": None if limits is None else json.dumps(limits), "least": least, "most": most, "early": early,
        "ahead": ahead,
    }  # fmt: skip
    return Call("fetch", parameters, lambda rows: [_job(row) for row in rows])


def _job(row: Row) -> Job:
    job_id, queue, priority, args, attempts = row
    return Job(job_id, queue, args["data"], priority, attempts, args["meta"])


def complete(queue: str, jobs: Ids, output: Any, *, queued: bool = False) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    parameters = {
        "queue": check.queue_name(queue), "ids": ids, "attempts": attempts, "outputs": _same(output, len(ids)), "queued": queued,
    }  # fmt: skip
    return Call("complete", parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def complete_each(
    queue: str, ids: list[int], attempts: list[int], outputs: list[str | None] | None
) -> Call[Mapping[int, str]]:
    """``outputs``, JSON texts, matches ``ids``; a None keeps nothing. How each job ended that was still in that attempt."""
    parameters = {"queue": queue, "ids": ids, "attempts": attempts, "outputs": outputs, "queued": False}
    return Call("complete", parameters, lambda rows: dict.fromkeys(rows[0][0], "completed"))


def fail(queue: str, jobs: Ids, output: Any) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    parameters = {
        "queue": check.queue_name(queue), "ids": ids, "attempts": attempts, "outputs": _same(output, len(ids)),
        "final": None, "retry_in": None,
    }  # fmt: skip
    return Call(
        "fail", parameters, lambda rows: CommandResult(len(ids), (*rows[0][0]["retried"], *rows[0][0]["failed"]))
    )


def fail_each(
    queue: str,
    ids: list[int],
    attempts: list[int],
    outputs: list[str | None] | None,
    final: list[bool],
    retry_in: list[float | None],
) -> Call[Mapping[int, str]]:
    """All lists match ``ids``: what it failed with (JSON texts), whether for good, seconds until its retry.

    How each job ended that was still in that attempt: ``retried`` or ``failed``.
    """
    parameters = {
        "queue": queue, "ids": ids, "attempts": attempts, "outputs": outputs, "final": final, "retry_in": retry_in,
    }  # fmt: skip
    return Call("fail", parameters, lambda rows: {job: how for how, jobs in rows[0][0].items() for job in jobs})


def command(name: str, queue: str, jobs: Ids) -> Call[CommandResult]:
    """``cancel``, ``resume`` or ``retry``."""
    ids, _ = fenced(jobs)
    parameters = {"queue": check.queue_name(queue), "ids": ids}
    return Call(name, parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def touch(queue: str, jobs: Ids) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    parameters = {"queue": check.queue_name(queue), "ids": ids, "attempts": attempts}
    return Call("touch", parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def note_ahead(worker: int, ids: list[int]) -> Call[None]:
    return Call("note_ahead", {"worker": worker, "ids": ids}, nothing)


def unfetch(worker: int, ids: list[int]) -> Call[list[int]]:
    return Call("unfetch", {"worker": worker, "ids": ids}, scalar)


def fenced(jobs: Ids) -> tuple[list[int], list[int] | None]:
    """The ids that ``jobs`` means, and their attempts where they are known."""
    listed = [jobs] if isinstance(jobs, (int, Job)) else list(jobs)
    ids = [job.id if isinstance(job, Job) else check.whole(job, "job id", 1, 2**63 - 1) for job in listed]
    attempts = [job.attempt for job in listed if isinstance(job, Job)]
    return ids, attempts if attempts and len(attempts) == len(ids) else None


def _same(output: Any, times: int) -> list[str | None] | None:
    if output is None:
        return None
    text = check.payload(output, "output")
    return [text for _ in range(times)]
