"""What a user of pg-boss expects, as steps that slaq and pg-boss are both put through.

A step is ``[verb, queue, argument, options]``; job ids become labels in the order of sending, so that
the answers of both can be compared. Names and durations are slaq's; ``pgboss.mjs`` has pg-boss's.
"""

from __future__ import annotations

from typing import Any

Step = list[Any]

SCENARIOS: dict[str, list[Step]] = {
    "throttle: a slot is held by a job that has run, and freed by cancelling or deleting it": [
        ["create", "q", {}],
        ["throttle", "q", 3600, {"key": "a"}], ["throttle", "q", 3600, {"key": "a"}], ["throttle", "q", 3600, {"key": "b"}],
        ["fetch", "q", 5], ["complete", "q", "1"], ["throttle", "q", 3600, {"key": "a"}],
        ["cancel", "q", "2"], ["throttle", "q", 3600, {"key": "b"}],
        ["delete", "q", "1"], ["throttle", "q", 3600, {"key": "a"}],
    ],
    "debounce: this slot, the next slot, nothing": [
        ["create", "q", {}],
        ["debounce", "q", 3600], ["debounce", "q", 3600], ["debounce", "q", 3600], ["fetch", "q", 5],
        ["deferred", "q", "2"],
    ],
    "cancel and resume": [
        ["create", "q", {}],
        ["send", "q", 1, {"start_after": 3600}], ["cancel", "q", "1"], ["state", "q", "1"], ["fetch", "q", 1],
        ["resume", "q", "1"], ["state", "q", "1"], ["fetch", "q", 1], ["complete", "q", "1"], ["state", "q", "1"],
        ["cancel", "q", "1"], ["resume", "q", "1"],
    ],
    "cancelling an active job makes its completion a no-op": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["cancel", "q", "1"], ["complete", "q", "1"], ["state", "q", "1"],
    ],
    "retries: limit, then failed": [
        ["create", "q", {}],
        ["send", "q", 1, {"retry_limit": 1}], ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"],
        ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"], ["fetch", "q", 1],
        ["send", "q", 1, {"retry_limit": 0}], ["fetch", "q", 1], ["fail", "q", "2"], ["state", "q", "2"], ["fail", "q", "2"],
    ],
    "retry delay keeps a job back": [
        ["create", "q", {"retry_delay": 60}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"], ["deferred", "q", "1"], ["fetch", "q", 1],
    ],
    "backoff without a delay waits at least a second": [
        ["create", "q", {"retry_backoff": True}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["fail", "q", "1"], ["deferred", "q", "1"], ["fetch", "q", 1],
    ],
    "manual retry gives one more run": [
        ["create", "q", {"retry_limit": 0}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"], ["retry", "q", "1"], ["state", "q", "1"],
        ["limit", "q", "1"], ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"], ["fetch", "q", 1],
        ["retry", "q", "1"], ["retry", "q", "1"],
    ],
    "completing what waits, or twice, changes nothing": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["complete", "q", "1"], ["fetch", "q", 1], ["complete", "q", "1"], ["complete", "q", "1"], ["state", "q", "1"],
    ],
    "failing what waits": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["fail", "q", "1"], ["state", "q", "1"],
        ["send", "q", 1, {"retry_limit": 0}], ["fail", "q", "2"], ["state", "q", "2"],
    ],
    "policy exclusive": [
        ["create", "q", {"policy": "exclusive"}],
        ["send", "q", 1, {"key": "k", "retry_limit": 1}], ["send", "q", 1, {"key": "k"}], ["send", "q", 1, {"key": "other"}],
        ["fetch", "q", 5], ["send", "q", 1, {"key": "k"}], ["fail", "q", "1"], ["send", "q", 1, {"key": "k"}],
        ["fetch", "q", 1], ["fail", "q", "1"], ["send", "q", 1, {"key": "k"}], ["send", "q", 1, {"key": "other"}],
    ],
    "policy short": [
        ["create", "q", {"policy": "short"}],
        ["send", "q", 1, {}], ["send", "q", 1, {}], ["fetch", "q", 1], ["send", "q", 1, {}], ["send", "q", 1, {}],
        ["fail", "q", "1"], ["state", "q", "1"], ["fetch", "q", 5], ["complete", "q", "1"], ["complete", "q", "2"],
    ],
    "policy singleton": [
        ["create", "q", {"policy": "singleton"}],
        ["send", "q", 1, {"key": "k"}], ["send", "q", 1, {"key": "k"}], ["send", "q", 1, {"key": "l"}],
        ["fetch", "q", 5], ["fetch", "q", 5], ["fail", "q", "1"], ["state", "q", "1"],
        ["fetch", "q", 1], ["complete", "q", "1"], ["fetch", "q", 1],
    ],
    "policy stately": [
        ["create", "q", {"policy": "stately"}],
        ["send", "q", 1, {}], ["send", "q", 1, {}], ["fetch", "q", 1], ["send", "q", 1, {}], ["send", "q", 1, {}],
        ["fail", "q", "1"], ["state", "q", "1"], ["state", "q", "2"], ["fetch", "q", 1],
    ],
    "policy key_strict_fifo: a failed job blocks its key only": [
        ["create", "q", {"policy": "key_strict_fifo", "retry_limit": 0}],
        ["send", "q", 1, {"key": "a"}], ["send", "q", 2, {"key": "a"}], ["send", "q", 3, {"key": "b"}],
        ["fetch", "q", 1], ["fetch", "q", 1], ["fetch", "q", 1], ["fail", "q", "1"], ["fetch", "q", 1], ["blocked", "q"],
        ["retry", "q", "1"], ["blocked", "q"], ["fetch", "q", 1], ["complete", "q", "1"], ["fetch", "q", 1],
    ],
    "policy key_strict_fifo: deleting the failed job unblocks": [
        ["create", "q", {"policy": "key_strict_fifo", "retry_limit": 0}],
        ["send", "q", 1, {"key": "a"}], ["send", "q", 2, {"key": "a"}], ["fetch", "q", 1], ["fail", "q", "1"], ["fetch", "q", 1],
        ["delete", "q", "1"], ["fetch", "q", 1],
    ],
    "a key alone limits nothing": [
        ["create", "q", {}],
        ["send", "q", 1, {"key": "k"}], ["send", "q", 1, {"key": "k"}], ["fetch", "q", 5],
    ],
    "dead letters": [
        ["create", "dlq", {"retry_limit": 7}], ["create", "q", {"dead_letter": "dlq", "retry_limit": 0}],
        ["send", "q", {"a": 1}, {"key": "k"}], ["fetch", "q", 1], ["fail", "q", "1"], ["state", "q", "1"], ["letters", "dlq"],
        ["fail", "q", "1"], ["letters", "dlq"],
    ],
    "dead letters do not chain": [
        ["create", "last", {}], ["create", "dlq", {"dead_letter": "last", "retry_limit": 0}],
        ["create", "q", {"dead_letter": "dlq", "retry_limit": 0}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["fail", "q", "1"], ["adopt", "dlq"], ["fetch", "dlq", 1], ["fail", "dlq", "2"],
        ["letters", "last"],
    ],
    "redrive to the sources": [
        ["create", "dlq", {}], ["create", "q", {"dead_letter": "dlq", "retry_limit": 0}],
        ["create", "r", {"dead_letter": "dlq", "retry_limit": 0}],
        ["send", "q", 1, {}], ["send", "r", 2, {}], ["fetch", "q", 1], ["fetch", "r", 1], ["fail", "q", "1"], ["fail", "r", "2"],
        ["redrive", "dlq", {}], ["count", "q"], ["count", "r"], ["count", "dlq"],
    ],
    "redrive within a limit": [
        ["create", "dlq", {}], ["create", "q", {"dead_letter": "dlq", "retry_limit": 0}],
        ["send", "q", 1, {}], ["send", "q", 2, {}], ["send", "q", 3, {}], ["fetch", "q", 3],
        ["fail", "q", "1"], ["fail", "q", "2"], ["fail", "q", "3"],
        ["redrive", "dlq", {"limit": 2}], ["redrive", "dlq", {"limit": 2}], ["redrive", "dlq", {"limit": 2}],
    ],
    "redrive elsewhere, from one source": [
        ["create", "dlq", {}], ["create", "other", {}], ["create", "q", {"dead_letter": "dlq", "retry_limit": 0}],
        ["create", "r", {"dead_letter": "dlq", "retry_limit": 0}],
        ["send", "q", 1, {}], ["send", "r", 2, {}], ["fetch", "q", 1], ["fetch", "r", 1], ["fail", "q", "1"], ["fail", "r", "2"],
        ["redrive", "dlq", {"destination": "other", "source": "r"}], ["count", "other"], ["count", "dlq"],
    ],
    "redrive that a policy refuses": [
        ["create", "dlq", {}], ["create", "q", {"dead_letter": "dlq", "retry_limit": 0, "policy": "exclusive"}],
        ["send", "q", 1, {"key": "k"}], ["fetch", "q", 1], ["fail", "q", "1"], ["send", "q", 2, {"key": "k"}],
        ["redrive", "dlq", {}], ["states", "dlq"],
    ],
    "publish and subscribe": [
        ["create", "q", {}], ["create", "r", {}], ["create", "x", {"policy": "exclusive"}],
        ["publish", "e"], ["subscribe", "e", "q"], ["subscribe", "e", "r"], ["subscribe", "e", "x"], ["publish", "e"], ["publish", "e"],
        ["count", "q"], ["count", "r"], ["count", "x"], ["unsubscribe", "e", "r"], ["publish", "e"], ["count", "r"],
    ],
    "priority": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["send", "q", 1, {"priority": 2}], ["send", "q", 1, {"priority": 1}],
        ["fetch", "q", 1], ["fetch", "q", 1], ["fetch", "q", 1],
    ],
    "insert skips what a policy refuses": [
        ["create", "q", {"policy": "short"}],
        ["insert", "q", [{"key": "a"}, {"key": "a"}, {"key": "b"}]], ["count", "q"],
    ],
    "update and upsert": [
        ["create", "q", {}],
        ["upsert", "q", {"n": 1}, {"key": "k"}], ["upsert", "q", {"n": 2}, {"key": "k"}], ["upsert", "q", {"n": 3}, {"key": "l"}],
        ["datas", "q"], ["fetch", "q", 5], ["upsert", "q", {"n": 4}, {"key": "k"}], ["datas", "q"],
    ],
    "groups": [
        ["create", "q", {}],
        ["send", "q", 1, {"group": "a"}], ["send", "q", 1, {"group": "a"}], ["send", "q", 1, {"group": "b"}], ["send", "q", 1, {}],
        ["claim", "q", 5, {"groups": 1}], ["claim", "q", 5, {"groups": 1}], ["claim", "q", 5, {"groups": 2}],
    ],
    "an attempt that is over settles nothing": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["fetch", "q", 1], ["hold", "q", "1"], ["fail", "q", "1"], ["fetch", "q", 1],
        ["late", "q", "1"], ["state", "q", "1"], ["complete", "q", "1"],
    ],
    "settings are copied when a job is sent": [
        ["create", "q", {"retry_limit": 0}],
        ["send", "q", 1, {}], ["update_queue", "q", {"retry_limit": 5}], ["send", "q", 1, {}],
        ["fetch", "q", 2], ["fail", "q", "1"], ["fail", "q", "2"], ["state", "q", "1"], ["state", "q", "2"],
    ],
}  # fmt: skip

SLOW_SCENARIOS: dict[str, list[Step]] = {
    "a handler's result is kept": [
        ["create", "q", {}],
        ["send", "q", {"n": 1}, {}], ["handle", "q", "1", {"returns": {"done": 1}}, "completed"], ["output", "q", "1"],
        ["state", "q", "1"], ["retries", "q", "1"],
    ],
    "a handler that always fails: nothing for the delay, one more run, failed": [
        ["create", "q", {}],
        ["send", "q", 1, {"retry_limit": 1, "retry_delay": 1}],
        ["handle", "q", "1", {"throws": "no luck"}, "retry"], ["deferred", "q", "1"],
        ["handle", "q", "1", {"throws": "no luck"}, "failed"], ["retries", "q", "1"], ["message", "q", "1"],
    ],
    "no retries: exactly one run": [
        ["create", "q", {}],
        ["send", "q", 1, {"retry_limit": 0}], ["handle", "q", "1", {"throws": "no luck"}, "failed"], ["retries", "q", "1"],
    ],
    "a handler that outlasts its time is retried, then failed": [
        ["create", "q", {"expire_in": 1, "retry_limit": 1}],
        ["send", "q", 1, {}], ["handle", "q", "1", {"sleeps": 3}, "failed"], ["retries", "q", "1"],
    ],
    "a claimed job whose process vanished expires by supervision alone": [
        ["create", "dlq", {}], ["create", "q", {"expire_in": 1, "retry_limit": 1, "dead_letter": "dlq"}],
        ["send", "q", 1, {"key": "k"}], ["fetch", "q", 1],
        ["wait", 1.2], ["supervise", "q"], ["state", "q", "1"], ["fetch", "q", 1], ["wait", 1.2], ["supervise", "q"],
        ["state", "q", "1"], ["message", "q", "1"], ["letters", "dlq"],
    ],
    "a job that is not touched in time comes back": [
        ["create", "q", {"retry_limit": 1}],
        ["send", "q", 1, {"heartbeat": 10}], ["send", "q", 2, {"heartbeat": 10}], ["fetch", "q", 2],
        ["wait", 6], ["touch", "q", "1"], ["wait", 5], ["supervise", "q"], ["state", "q", "1"], ["state", "q", "2"],
        ["message", "q", "2"],
    ],
    "a stop interrupts what outlasts it, and the next worker does it": [
        ["create", "q", {"retry_limit": 1}],
        ["send", "q", 1, {}], ["stop", "q", "1", {"sleeps": 20}, 1], ["state", "q", "1"],
        ["handle", "q", "1", {"returns": {"done": 2}}, "completed"], ["retries", "q", "1"],
    ],
    "a stop waits for what ends in time": [
        ["create", "q", {}],
        ["send", "q", 1, {}], ["stop", "q", "1", {"sleeps": 0.5}, 5], ["state", "q", "1"], ["retries", "q", "1"],
    ],
    "settled jobs are deleted when their time is up": [
        ["create", "q", {"delete_after": 1, "retry_limit": 0}], ["create", "kept", {"delete_after": 0}],
        ["send", "q", 1, {}], ["send", "q", 2, {}], ["send", "q", 3, {}], ["send", "kept", 4, {}], ["fetch", "q", 3], ["fetch", "kept", 1],
        ["complete", "q", "1"], ["fail", "q", "2"], ["cancel", "q", "3"], ["complete", "kept", "4"],
        ["wait", 1.2], ["supervise", "q"], ["supervise", "kept"], ["count", "q"], ["count", "kept"],
    ],
    "waiting jobs are deleted when nobody came for them": [
        ["create", "q", {"retention": 1}],
        ["send", "q", 1, {}], ["send", "q", 2, {"start_after": 3600}], ["wait", 1.2], ["supervise", "q"], ["count", "q"], ["states", "q"],
    ],
    "statistics": [
        ["create", "q", {"retry_limit": 0}],
        ["send", "q", 1, {}], ["send", "q", 2, {"start_after": 3600}], ["send", "q", 3, {"priority": 1}], ["send", "q", 4, {"priority": 2}],
        ["fetch", "q", 2], ["fail", "q", "4"], ["stats", "q"],
    ],
    "what is sent in a transaction goes with it": [
        ["create", "q", {"policy": "exclusive"}],
        ["transact", "q", False], ["count", "q"], ["transact", "q", True], ["count", "q"], ["transact", "q", True], ["count", "q"],
    ],
    "previews across the changes of a clock": [
        ["preview", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", 3],
        ["preview", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00", 3],
        ["preview", "*/15 9-10 * * 1-5", "Europe/Berlin", "2026-11-20T10:30:00+01:00", 6],
        ["preview", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00+00:00", 2],
    ],
}  # fmt: skip
"""What takes its time: handlers, expiry, deletion. Each is played on connections of its own."""
