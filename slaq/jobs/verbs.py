"""The verbs of the queue as calls: input checked, statement named, answer read. Both faces of the queue run these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from slaq.jobs import options as check
from slaq.jobs.calls import Call
from slaq.jobs.model import (
    CommandResult,
    InvalidJob,
    Job,
    JobInfo,
    JobState,
    QueueInfo,
    QueueStats,
    Redrivable,
    Schedule,
    Upserted,
)
from slaq.jobs.schedule import checked_cron, checked_zone
from slaq.store.database import Row

Ids: TypeAlias = int | Job | Sequence[int] | Sequence[Job]
"""One job or many, by id; a ``Job`` carries its attempt, which fences what is said about it."""


def create_queue(name: str, policy: str, settings: Mapping[str, Any]) -> Call[bool]:
    chosen = check.queue_options({key: value for key, value in settings.items() if value is not None})
    if chosen.get("dead_letter") == name:
        raise InvalidJob(f"queue {name!r} cannot be its own dead letter queue")
    parameters = {"name": check.queue_name(name), "policy": check.policy(policy), "settings": json.dumps(chosen)}
    return Call("create_queue", parameters, _scalar)


def update_queue(name: str, settings: Mapping[str, Any]) -> Call[None]:
    chosen = check.queue_options(settings, nullable=True)
    if chosen.get("dead_letter") == name:
        raise InvalidJob(f"queue {name!r} cannot be its own dead letter queue")
    return Call("update_queue", {"name": check.queue_name(name), "settings": json.dumps(chosen)}, _nothing)


def delete_queue(name: str) -> Call[bool]:
    return Call("delete_queue", {"name": check.queue_name(name)}, _scalar)


def get_queues(name: str | None = None) -> Call[list[QueueInfo]]:
    return Call("list_queues", {"name": name}, lambda rows: [QueueInfo(*row) for row in rows])


def get_queue_stats(name: str | None = None) -> Call[list[QueueStats]]:
    return Call("queue_stats", {"name": name}, lambda rows: [QueueStats(*row) for row in rows])


def send(queue: str, data: Any, options: Mapping[str, Any], slot: tuple[Any, bool] | None = None) -> Call[int | None]:
    """``slot`` is the length of a throttle slot and whether the next one may be used."""
    chosen = check.send_options(options)
    if slot is not None:
        if "start_after" in chosen:
            raise InvalidJob(f"start_after {options['start_after']!r} does not go with a slot of time")
        chosen |= {"throttle": check.seconds(slot[0], "seconds"), "next_slot": slot[1]}
    parameters = {"queue": check.queue_name(queue), "data": check.payload(data), "options": json.dumps(chosen)}
    return Call("send", parameters, _scalar)


def insert(queue: str, jobs: Iterable[Mapping[str, Any]]) -> Call[list[int | None]]:
    parts = [_inserted(position, job) for position, job in enumerate(jobs)]
    return Call("insert", {"queue": check.queue_name(queue), "jobs": f"[{','.join(parts)}]"}, _scalar)


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
    return Call("publish", parameters, _scalar)


def subscribe(event: str, queue: str) -> Call[None]:
    return Call("subscribe", {"event": check.text(event, "event"), "queue": check.queue_name(queue)}, _nothing)


def unsubscribe(event: str, queue: str) -> Call[bool]:
    return Call("unsubscribe", {"event": check.text(event, "event"), "queue": check.queue_name(queue)}, _scalar)


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
) -> Call[list[Job]]:
    """``groups`` limits the active jobs of a group: a number, or ``{"default": n, "tiers": {tier: n}}``."""
    limits = {"default": check.whole(groups, "group_concurrency", 1, 100_000)} if isinstance(groups, int) else groups
    parameters = {
        "queue": check.queue_name(queue), "limit": check.whole(limit, "limit", 1, 100_000), "worker": worker,
        "groups": None if limits is None else json.dumps(limits), "least": least, "most": most, "early": early,
    }  # fmt: skip
    return Call("fetch", parameters, lambda rows: [_job(row) for row in rows])


def _job(row: Row) -> Job:
    job_id, queue, priority, args, attempts, is_locked = row
    return Job(job_id, queue, args["data"], priority, attempts, args["meta"], is_locked)


def complete(queue: str, jobs: Ids, output: Any, *, queued: bool = False) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    return complete_each(queue, ids, attempts, _same(output, len(ids)), queued=queued)


def complete_each(
    queue: str, ids: list[int], attempts: list[int] | None, outputs: list[str | None] | None, *, queued: bool = False
) -> Call[CommandResult]:
    """``outputs``, JSON texts, matches ``ids``; a None keeps nothing."""
    parameters = {
        "queue": check.queue_name(queue), "ids": ids, "attempts": attempts, "outputs": outputs, "queued": queued,
    }  # fmt: skip
    return Call("complete", parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def fail(queue: str, jobs: Ids, output: Any) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    return fail_each(queue, ids, attempts, _same(output, len(ids)))


def fail_each(
    queue: str,
    ids: list[int],
    attempts: list[int] | None,
    outputs: list[str | None] | None,
    final: list[bool] | None = None,
    retry_in: list[float | None] | None = None,
) -> Call[CommandResult]:
    """All lists match ``ids``: what it failed with (JSON texts), whether for good, seconds until its retry."""
    parameters = {
        "queue": check.queue_name(queue), "ids": ids, "attempts": attempts, "outputs": outputs,
        "final": final, "retry_in": retry_in,
    }  # fmt: skip
    return Call(
        "fail", parameters, lambda rows: CommandResult(len(ids), (*rows[0][0]["retried"], *rows[0][0]["failed"]))
    )


def command(name: str, queue: str, jobs: Ids) -> Call[CommandResult]:
    """``cancel``, ``resume`` or ``retry``."""
    ids, _ = fenced(jobs)
    parameters = {"queue": check.queue_name(queue), "ids": ids}
    return Call(name, parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def touch(queue: str, jobs: Ids) -> Call[CommandResult]:
    ids, attempts = fenced(jobs)
    parameters = {"queue": check.queue_name(queue), "ids": ids, "attempts": attempts}
    return Call("touch", parameters, lambda rows: CommandResult(len(ids), tuple(rows[0][0])))


def unfetch(worker: int, ids: list[int]) -> Call[list[int]]:
    return Call("unfetch", {"worker": worker, "ids": ids}, _scalar)


def delete(queue: str, jobs: Ids | None, states: Iterable[str] | None = None) -> Call[int]:
    ids = None if jobs is None else fenced(jobs)[0]
    chosen = None if states is None else [_state(state) for state in states]
    return Call("delete", {"queue": check.queue_name(queue), "ids": ids, "states": chosen}, _scalar)


def find(
    queue: str | None, limit: int, *, ids: Iterable[int] | None, key: str | None, data: Any,
    states: Iterable[str] | None, after: int | None,
) -> Call[list[JobInfo]]:  # fmt: skip
    wanted = {
        "ids": None if ids is None else list(ids), "key": key, "after": after,
        "states": None if states is None else [_state(state) for state in states],
    }  # fmt: skip
    chosen = {name: value for name, value in wanted.items() if value is not None}
    parts = json.dumps(chosen) if data is None else f"{json.dumps({**chosen, 'data': 0})[:-2]}{check.payload(data)}}}"
    parameters = {
        "queue": None if queue is None else check.queue_name(queue),
        "filter": parts,
        "limit": check.whole(limit, "limit", 1, 100_000),
    }
    return Call("find", parameters, lambda rows: [JobInfo(*row) for row in rows])


def blocked_keys(queue: str) -> Call[list[str]]:
    return Call("blocked_keys", {"queue": check.queue_name(queue)}, lambda rows: [row[0] for row in rows])


def _redrive_parameters(
    queue: str, limit: int, source: str | None, destination: str | None, ids: Iterable[int] | None,
    data: Any, created_before: datetime | None,
) -> dict[str, Any]:  # fmt: skip
    wanted = {
        "source": None if source is None else check.queue_name(source, "source"),
        "destination": None if destination is None else check.queue_name(destination, "destination"),
        "ids": None if ids is None else list(ids),
        "data": None if data is None else json.loads(check.payload(data)),
        "created_before": None if created_before is None else check.aware(created_before, "created_before").isoformat(),
    }
    chosen = {name: value for name, value in wanted.items() if value is not None}
    return {
        "queue": check.queue_name(queue), "filter": json.dumps(chosen), "limit": check.whole(limit, "limit", 1, 100_000),
    }  # fmt: skip


def redrive(queue: str, limit: int, **wanted: Any) -> Call[int]:
    return Call("redrive", _redrive_parameters(queue, limit, **wanted), _scalar)


def preview_redrive(queue: str, limit: int, **wanted: Any) -> Call[list[Redrivable]]:
    return Call(
        "preview_redrive", _redrive_parameters(queue, limit, **wanted), lambda rows: [Redrivable(*r) for r in rows]
    )


def schedule(
    queue: str, cron: str, data: Any, *, tz: str, key: str, missed: str, options: Mapping[str, Any]
) -> Call[None]:
    if missed not in ("skip", "once"):
        raise InvalidJob(f"missed {missed!r} is neither 'skip' nor 'once'")
    parameters = {
        "queue": check.queue_name(queue), "key": check.text(key, "key") if key else "", "cron": checked_cron(cron),
        "zone": checked_zone(tz).key, "missed": missed, "data": check.payload(data),
        "options": json.dumps(check.send_options(options)),
    }  # fmt: skip
    return Call("schedule", parameters, _nothing)


def unschedule(queue: str, key: str) -> Call[bool]:
    return Call("unschedule", {"queue": check.queue_name(queue), "key": key}, _scalar)


def get_schedules(queue: str | None = None) -> Call[list[Schedule]]:
    return Call("list_schedules", {"queue": queue}, lambda rows: [Schedule(*row) for row in rows])


def fire(schedule: Schedule, tick: datetime) -> Call[int | None]:
    return Call("fire", {"queue": schedule.queue, "key": schedule.key, "tick": tick}, _scalar)


def sweep(stale: Any) -> Call[dict[str, int]]:
    return Call("sweep", {"stale": stale}, _scalar)


def delete_old() -> Call[dict[str, int]]:
    return Call("delete_old", {}, _scalar)


def now() -> Call[datetime]:
    return Call("now", {}, _scalar)


def fenced(jobs: Ids) -> tuple[list[int], list[int] | None]:
    """The ids that ``jobs`` means, and their attempts where they are known."""
    listed = [jobs] if isinstance(jobs, (int, Job)) else list(jobs)
    ids = [job.id if isinstance(job, Job) else check.whole(job, "job id", 1, 2**63 - 1) for job in listed]
    attempts = [job.attempt for job in listed if isinstance(job, Job)]
    return ids, attempts if attempts and len(attempts) == len(ids) else None


def _same(output: Any, times: int) -> list[str | None] | None:
    return None if output is None else [check.payload(output, "output")] * times


def _state(state: str) -> str:
    try:
        return JobState(state).value
    except ValueError:
        raise InvalidJob(f"state {state!r} is none of {', '.join(JobState)}") from None


def _scalar(rows: list[Row]) -> Any:
    return rows[0][0]


def _nothing(rows: list[Row]) -> None:  # noqa: ARG001 - a reader of rows like the others
    return None
