"""Random verbs on random queues, against a model of the states small enough to be believed."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from slaq.jobs import SyncJobQueue

KEYS = ["a", "b"]
POLICIES = ["standard", "short", "singleton", "stately", "exclusive", "key_strict_fifo"]
QUEUES = [*POLICIES, "dead"]
WAITING = ("created", "retry")
LATER = 3600


@attrs.define
class Job:
    queue: str
    key: str
    limit: int
    priority: int
    is_deferred: bool = False
    runs: int = 0
    state: str = "created"
    source: str | None = None


class Model:
    """The jobs, and what each verb makes of them. A queue is named after its policy; ``dead`` has their dead letters."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}

    def others(self, job: Job, *states: str) -> list[tuple[int, Job]]:
        """Jobs of the same queue and key in these states."""
        return [
            (i, other) for i, other in self.jobs.items()
            if other is not job and (other.queue, other.key) == (job.queue, job.key) and other.state in states
        ]  # fmt: skip

    def may_wait(self, job: Job) -> bool:
        """Whether its policy has a place for it among the waiting."""
        match job.queue:
            case "short":
                return job.runs > 0 or not self.others(job, "created")
            case "stately":
                return not self.others(job, "retry" if job.runs else "created")
            case "exclusive":
                return not self.others(job, "created", "retry", "active")
        return True

    def fetchable(self, queue: str, *, early: bool) -> list[int]:
        """Who may be claimed next, in order, one of a key where the policy says so."""
        chosen: list[int] = []
        keys: set[str] = set()
        for i, job in sorted(self.jobs.items(), key=lambda item: (-item[1].priority, item[0])):
            if job.queue != queue or job.state not in WAITING or (job.is_deferred and not early):
                continue
            if queue in ("singleton", "stately", "key_strict_fifo"):
                if job.key in keys or self.others(job, "active") or self.is_behind(i, job):
                    continue
                keys.add(job.key)
            chosen.append(i)
        return chosen

    def is_behind(self, i: int, job: Job) -> bool:
        """Strict order: what failed comes first, then what is retried, then what was sent first."""
        if job.queue != "key_strict_fifo":
            return False
        for j, other in self.others(job, "failed", *WAITING):
            is_retried = other.runs > 0 and (job.runs == 0 or j < i)
            is_older = other.runs == job.runs == 0 and j < i and not other.is_deferred
            if other.state == "failed" or is_retried or is_older:
                return True
        return False

    def fail(self, job: Job) -> None:
        has_no_place = job.queue == "stately" and bool(self.others(job, "retry"))
        job.state = "failed" if job.runs >= job.limit or has_no_place else "retry"
        job.runs += 1
        job.is_deferred = False


Step: TypeAlias = tuple[str, str, str, int, int]
VERBS = st.lists(
    st.tuples(
        st.sampled_from([
            "send", "send", "send", "send later", "fetch", "fetch", "fetch early", "complete", "fail", "fail", "cancel",
            "resume", "retry", "delete", "late", "update", "redrive",
        ]),
        st.sampled_from(QUEUES), st.sampled_from(KEYS), st.integers(0, 2), st.integers(0, 9),
    ),
    min_size=20, max_size=60,
)  # fmt: skip


ONE_DATABASE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(ONE_DATABASE, max_examples=100)
@given(steps=VERBS)
def test_verbs_agree_with_the_model(dsn: str, steps: list[Step]) -> None:
    play(dsn, steps)


@pytest.mark.soak
@settings(ONE_DATABASE, max_examples=3000)
@given(steps=VERBS)
def test_verbs_agree_with_the_model_for_long(dsn: str, steps: list[Step]) -> None:
    play(dsn, steps)


def test_two_retries_of_one_key_go_one_after_the_other(dsn: str) -> None:
    """Each waited for the other, for ever."""
    fifo = "key_strict_fifo"
    play(dsn, [*(("send", fifo, "a", 2, 0) for _ in range(2)), *(("fail", fifo, "a", 0, n) for n in range(2)),
               *(("fetch", fifo, "a", 0, 0), ("complete", fifo, "a", 0, 0), ("fetch", fifo, "a", 0, 0))])  # fmt: skip


def play(dsn: str, steps: list[Step]) -> None:
    with psycopg.connect(dsn) as conn:
        play = Play(SyncJobQueue(), conn, Model())
        play.queue.create_queue(conn, "dead")
        for policy in POLICIES:
            play.queue.create_queue(conn, policy, policy=policy, dead_letter="dead")
        for verb, queue, key, number, pick in steps:
            play.step(verb, queue, key, number, pick)
            play.check()
        conn.rollback()


@attrs.frozen
class Play:
    """The same verb for slaq and for the model."""

    queue: SyncJobQueue
    conn: psycopg.Connection[Any]
    model: Model

    def step(self, verb: str, queue: str, key: str, number: int, pick: int) -> None:
        mine = [i for i, job in self.model.jobs.items() if job.queue == queue]
        if verb.startswith("send"):
            self.send(queue, key, number, is_deferred=verb == "send later")
        elif verb.startswith("fetch"):
            self.fetch(queue, number + 1, early=verb == "fetch early")
        elif verb == "redrive":
            self.redrive(number + 1)
        elif mine:
            chosen = mine[pick % len(mine)]
            getattr(self, verb)(queue, chosen, self.model.jobs[chosen])

    def send(self, queue: str, key: str, number: int, *, is_deferred: bool) -> None:
        job = Job(queue, key, number, number, is_deferred)
        later: Any = {"start_after": LATER} if is_deferred else {}
        sent = self.queue.send(self.conn, queue, key=key, priority=number, retry_limit=number, **later)
        assert (sent is not None) == self.model.may_wait(job)
        if sent is not None:
            self.model.jobs[sent] = job

    def fetch(self, queue: str, limit: int, *, early: bool) -> None:
        expected = self.model.fetchable(queue, early=early)[:limit]
        found = self.queue.fetch(self.conn, queue, limit, ignore_start_after=early)
        assert [job.id for job in found] == expected
        assert [job.attempt for job in found] == [self.model.jobs[i].runs for i in expected]
        for i in expected:
            self.model.jobs[i].state = "active"

    def complete(self, queue: str, i: int, job: Job) -> None:
        assert self.queue.complete(self.conn, queue, i).affected == (job.state == "active")
        if job.state == "active":
            job.state, job.runs = "completed", job.runs + 1

    def fail(self, queue: str, i: int, job: Job) -> None:
        can = job.state in (*WAITING, "active")
        if can:
            self.model.fail(job)
        assert self.queue.fail(self.conn, queue, i).affected == can
        if can and job.state == "failed" and queue != "dead":
            event("a dead letter")
            (letter,) = (each for each in self.queue.find_jobs(self.conn, "dead") if each.id not in self.model.jobs)
            assert (letter.metadata["source"]["id"], letter.metadata["source"]["retry_count"]) == (i, job.runs - 1)
            self.model.jobs[letter.id] = Job("dead", job.key, 2, job.priority, source=queue)

    def cancel(self, queue: str, i: int, job: Job) -> None:
        can = job.state in (*WAITING, "active")
        assert self.queue.cancel(self.conn, queue, i).affected == can
        job.state = "cancelled" if can else job.state

    def resume(self, queue: str, i: int, job: Job) -> None:
        can = job.state == "cancelled" and self.model.may_wait(job)
        assert self.queue.resume(self.conn, queue, i).affected == can
        if can:
            job.state = "retry" if job.runs else "created"

    def retry(self, queue: str, i: int, job: Job) -> None:
        can = job.state == "failed" and self.model.may_wait(job)
        assert self.queue.retry(self.conn, queue, i).affected == can
        if can:
            job.state, job.limit = "retry", job.limit + 1

    def delete(self, queue: str, i: int, job: Job) -> None:
        assert self.queue.delete_job(self.conn, queue, i) == 1
        del self.model.jobs[i]

    def late(self, queue: str, i: int, job: Job) -> None:
        """Whoever speaks of an attempt that is over, or not yet, changes nothing."""
        for verb in ("complete_jobs", "fail_jobs"):
            stale = f"SELECT slaq.{verb}(%s, ARRAY[%s]::bigint[], ARRAY[%s])".encode()
            answer = self.conn.execute(stale, [queue, i, job.runs + 1]).fetchone()
            assert answer in (([],), ({"retried": [], "failed": []},))

    def update(self, queue: str, i: int, job: Job) -> None:
        can = job.state in WAITING
        assert self.queue.update(self.conn, queue, id=i, priority=9, retry_limit=1).affected == can
        if can:
            job.priority, job.limit = 9, 1

    def redrive(self, limit: int) -> None:
        letters = [
            (i, job) for i, job in sorted(self.model.jobs.items())
            if job.queue == "dead" and job.state in WAITING and job.source
        ][:limit]  # fmt: skip
        moved: list[Job] = []
        for i, letter in letters:
            back = Job(letter.source or "", letter.key, 2, letter.priority)
            if self.model.may_wait(back):
                event("redriven")
                del self.model.jobs[i]
                self.model.jobs[-len(moved) - 1] = back
                moved.append(back)
            else:
                event("a redrive refused")
                letter.state, letter.runs, letter.is_deferred = "failed", letter.runs + 1, False
        assert self.queue.redrive(self.conn, "dead", limit) == len(moved)
        for number, back in enumerate(moved):
            del self.model.jobs[-number - 1]
            newer = (each.id for each in self.queue.find_jobs(self.conn, back.queue) if each.id not in self.model.jobs)
            self.model.jobs[min(newer)] = back

    def check(self) -> None:
        found = {
            job.id: (job.queue, str(job.state), job.attempts, job.retry_limit)
            for job in self.queue.find_jobs(self.conn)
        }
        assert found == {i: (job.queue, job.state, job.runs, job.limit) for i, job in self.model.jobs.items()}
