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
