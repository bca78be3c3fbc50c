"""Random verbs on random queues, against a model of the states small enough to be believed."""

from __future__ import annotations

from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slaq.jobs import SyncJobQueue

KEYS = ["a", "b", ""]
POLICIES = ["standard", "short", "singleton", "stately", "exclusive"]


class Model:
    """Jobs as (queue, key, state, runs, limit), and what each verb makes of them."""

    def __init__(self) -> None:
        self.jobs: dict[int, dict[str, Any]] = {}

    def of(self, policy: str, key: str, *states: str) -> list[int]:
        return [
            i for i, job in self.jobs.items() if (job["policy"], job["key"]) == (policy, key) and job["state"] in states
        ]

    def may_wait(self, policy: str, key: str) -> bool:
        match policy:
            case "short" | "stately":
                return not self.of(policy, key, "created")
            case "exclusive":
                return not self.of(policy, key, "created", "retry", "active")
        return True

    def fetchable(self, policy: str) -> list[int]:
        """Who may be claimed next, in order, one of a key where the policy says so."""
        chosen, keys = [], set()
        for i, job in sorted(self.jobs.items(), key=lambda item: (-item[1]["priority"], item[0])):
            if job["policy"] != policy or job["state"] not in ("created", "retry"):
                continue
            if policy in ("singleton", "stately"):
                if job["key"] in keys or self.of(policy, job["key"], "active"):
                    continue
                keys.add(job["key"])
            chosen.append(i)
        return chosen

    def fail(self, i: int) -> None:
        job = self.jobs[i]
        waiting = [other for other in self.of(job["policy"], job["key"], "retry") if other != i]
        is_over = job["runs"] >= job["limit"] or (job["policy"] == "stately" and bool(waiting))
        job["runs"] += 1
        job["state"] = "failed" if is_over else "retry"


VERBS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "fetch", "fetch", "complete", "fail", "fail", "cancel", "delete", "late"]),
        st.sampled_from(POLICIES), st.sampled_from(KEYS), st.integers(0, 2), st.integers(0, 9),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=VERBS)
def test_verbs_agree_with_the_model(dsn: str, steps: list[tuple[str, str, str, int, int]]) -> None:
    queue, model = SyncJobQueue(), Model()
    with psycopg.connect(dsn) as conn:
        for policy in POLICIES:
            queue.create_queue(conn, policy, policy=policy)
        for step in steps:
            play(queue, conn, model, *step)
            check(queue, conn, model)
        conn.rollback()


def play(queue, conn, model: Model, verb: str, policy: str, key: str, number: int, pick: int) -> None:
    mine = [i for i, job in model.jobs.items() if job["policy"] == policy]
    chosen = mine[pick % len(mine)] if mine else None
    if verb == "send":
        may = model.may_wait(policy, key)
        options = {"key": key} if key else {}
        job = queue.send(conn, policy, {"n": number}, priority=number, retry_limit=number, **options)
        assert (job is not None) == may
        if job is not None:
            model.jobs[job] = {
                "policy": policy, "key": key, "state": "created", "runs": 0, "limit": number, "priority": number,
            }  # fmt: skip
    elif verb == "fetch":
        expected = model.fetchable(policy)[: number + 1]
        assert [job.id for job in queue.fetch(conn, policy, number + 1)] == expected
        for i in expected:
            model.jobs[i]["state"] = "active"
    elif chosen is not None:
        settle(queue, conn, model, verb, policy, chosen)


def settle(queue, conn, model: Model, verb: str, policy: str, chosen: int) -> None:
    job = model.jobs[chosen]
    state = job["state"]
    if verb == "complete":
        assert queue.complete(conn, policy, chosen).affected == (state == "active")
        if state == "active":
            job |= {"state": "completed", "runs": job["runs"] + 1}
    elif verb == "fail":
        can = state in ("created", "retry", "active")
        if can:
            model.fail(chosen)
        assert queue.fail(conn, policy, chosen).affected == can
    elif verb == "cancel":
        can = state in ("created", "retry", "active")
        assert queue.cancel(conn, policy, chosen).affected == can
        job["state"] = "cancelled" if can else state
    elif verb == "delete":
        assert queue.delete_job(conn, policy, chosen) == 1
        del model.jobs[chosen]
    elif verb == "late":
        stale = conn.execute(
            "SELECT slaq.complete_jobs(%s, ARRAY[%s]::bigint[], ARRAY[%s])", [policy, chosen, job["runs"] + 1]
        )
        assert stale.fetchone() == ([],)


def check(queue, conn, model: Model) -> None:
    found = {job.id: (str(job.state), job.attempts) for job in queue.find_jobs(conn)}
    assert found == {i: (job["state"], job["runs"]) for i, job in model.jobs.items()}
