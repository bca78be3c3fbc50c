"""Looking after queues, jobs and schedules, as calls; see ``slaq.jobs.verbs``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from slaq.jobs import options as check
from slaq.jobs.calls import Call, nothing, scalar
from slaq.jobs.model import (
    FindFilter,
    InvalidJob,
    JobInfo,
    JobState,
    QueueInfo,
    QueueStats,
    Redrivable,
    RedriveFilter,
    Schedule,
)
from slaq.jobs.schedule import checked_cron, checked_zone
from slaq.jobs.verbs import Ids, fenced


def create_queue(name: str, policy: str, settings: Mapping[str, Any]) -> Call[bool]:
    chosen = check.queue_options({key: value for key, value in settings.items() if value is not None})
    if chosen.get("dead_letter") == name:
        raise InvalidJob(f"queue {name!r} cannot be its own dead letter queue")
    parameters = {"name": check.queue_name(name), "policy": check.policy(policy), "settings": json.dumps(chosen)}
    return Call("create_queue", parameters, scalar)


def update_queue(name: str, settings: Mapping[str, Any]) -> Call[None]:
    chosen = check.queue_options(settings, nullable=True)
    if chosen.get("dead_letter") == name:
        raise InvalidJob(f"queue {name!r} cannot be its own dead letter queue")
    return Call("update_queue", {"name": check.queue_name(name), "settings": json.dumps(chosen)}, nothing)


def delete_queue(name: str) -> Call[bool]:
    return Call("delete_queue", {"name": check.queue_name(name)}, scalar)


def get_queues(name: str | None = None) -> Call[list[QueueInfo]]:
    return Call("list_queues", {"name": name}, lambda rows: [QueueInfo(*row) for row in rows])


def get_queue_stats(name: str | None = None) -> Call[list[QueueStats]]:
    return Call("queue_stats", {"name": name}, lambda rows: [QueueStats(*row) for row in rows])


def subscribe(event: str, queue: str) -> Call[None]:
    return Call("subscribe", {"event": check.text(event, "event"), "queue": check.queue_name(queue)}, nothing)


def unsubscribe(event: str, queue: str) -> Call[bool]:
    return Call("unsubscribe", {"event": check.text(event, "event"), "queue": check.queue_name(queue)}, scalar)


def delete(queue: str, jobs: Ids | None, states: Iterable[str] | None = None) -> Call[int]:
    ids = None if jobs is None else fenced(jobs)[0]
    chosen = None if states is None else [_state(state) for state in states]
    return Call("delete", {"queue": check.queue_name(queue), "ids": ids, "states": chosen}, scalar)


def find(queue: str | None, limit: int, wanted: FindFilter | Mapping[str, Any]) -> Call[list[JobInfo]]:
    chosen = _given(
        wanted,
        {
            "ids": list,
            "key": _same,
            "after": _same,
            "states": lambda states: [_state(state) for state in states],
            "data": _json,
        },
    )
    parameters = {
        "queue": None if queue is None else check.queue_name(queue),
        "filter": json.dumps(chosen),
        "limit": check.whole(limit, "limit", 1, 100_000),
    }
    return Call("find", parameters, lambda rows: [JobInfo(*row) for row in rows])


def blocked_keys(queue: str) -> Call[list[str]]:
    return Call("blocked_keys", {"queue": check.queue_name(queue)}, lambda rows: [row[0] for row in rows])


def _redrive_parameters(queue: str, limit: int, wanted: RedriveFilter) -> dict[str, Any]:
    chosen = _given(
        wanted,
        {
            "source": lambda name: check.queue_name(name, "source"),
            "destination": lambda name: check.queue_name(name, "destination"),
            "ids": list,
            "data": _json,
            "created_before": lambda at: check.aware(at, "created_before").isoformat(),
        },
    )
    return {
        "queue": check.queue_name(queue), "filter": json.dumps(chosen), "limit": check.whole(limit, "limit", 1, 100_000),
    }  # fmt: skip


def redrive(queue: str, limit: int, wanted: RedriveFilter) -> Call[int]:
    return Call("redrive", _redrive_parameters(queue, limit, wanted), scalar)


def preview_redrive(queue: str, limit: int, wanted: RedriveFilter) -> Call[list[Redrivable]]:
    parameters = _redrive_parameters(queue, limit, wanted)
    return Call("preview_redrive", parameters, lambda rows: [Redrivable(*row) for row in rows])


def schedule(
    queue: str, cron: str, data: Any, *, tz: str, key: str, missed: str, job_key: str | None, options: Mapping[str, Any]
) -> Call[None]:
    if missed not in ("skip", "once"):
        raise InvalidJob(f"missed {missed!r} is neither 'skip' nor 'once'")
    parameters = {
        "queue": check.queue_name(queue), "key": check.text(key, "key") if key else "", "cron": checked_cron(cron),
        "zone": checked_zone(tz).key, "missed": missed, "data": check.payload(data),
        "options": json.dumps(check.send_options(options if job_key is None else {**options, "key": job_key})),
    }  # fmt: skip
    return Call("schedule", parameters, nothing)


def unschedule(queue: str, key: str) -> Call[bool]:
    return Call("unschedule", {"queue": check.queue_name(queue), "key": key}, scalar)


def get_schedules(queue: str | None = None) -> Call[list[Schedule]]:
    return Call("list_schedules", {"queue": queue}, lambda rows: [Schedule(*row) for row in rows])


def fire(schedule: Schedule, tick: datetime) -> Call[int | None]:
    return Call("fire", {"queue": schedule.queue, "key": schedule.key, "tick": tick}, scalar)


def sweep(stale: Any) -> Call[dict[str, int]]:
    return Call("sweep", {"stale": stale}, scalar)


def delete_old(every: timedelta = timedelta()) -> Call[dict[str, int] | None]:
    """None when it was done less than ``every`` ago, by whomever."""
    return Call("delete_old", {"every": every}, scalar)


def now() -> Call[datetime]:
    return Call("now", {}, scalar)


def _state(state: str) -> str:
    try:
        return JobState(state).value
    except ValueError:
        raise InvalidJob(f"state {state!r} is none of {', '.join(JobState)}") from None


def _given(wanted: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """What is given of ``wanted``, each part read by its reader."""
    for name in wanted:
        if name not in known:
            raise InvalidJob(f"{name!r} is none of {', '.join(known)}")
    return {name: known[name](value) for name, value in wanted.items() if value is not None}


def _same(value: Any) -> Any:
    return value


def _json(data: Any) -> Any:
    return json.loads(check.payload(data))
