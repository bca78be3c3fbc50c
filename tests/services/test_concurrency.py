"""Real transactions at once: one consistent outcome, and nobody waits for a stranger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from services.build import Desk, instant, sweep, ticket
from slaq import SyncSlaService, run_with_tenant
from slaq.clock import FixedClock
from slaq.errors import UnknownTicket
from slaq.store.database import run
from slaq.store.tickets import read_ticket


class Host:
    """An application's transaction of its own, at an instant of its own."""

    def __init__(self, desk: Desk, when: str) -> None:
        self.desk, self.conn = desk, psycopg.connect(desk.dsn)
        self.sla = SyncSlaService(clock=FixedClock(instant(when)))

    def __call__(self, verb: str, *args: Any, **options: Any) -> Any:
        with run_with_tenant(self.desk.tenant):
            return getattr(self.sla, verb)(self.conn, *args, **options)

    def commit(self) -> None:
        self.conn.commit()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@contextmanager
def hosts(desk: Desk, *when: str) -> Iterator[list[Host]]:
    opened = [Host(desk, each) for each in when]
    try:
        yield opened
    finally:
        for host in opened:
            host.conn.close()


def waits(future: Future[Any]) -> bool:
    time.sleep(0.2)
    return not future.done()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run in threads that start together; what each returned or raised."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return call()
        except psycopg.Error as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_two_writers_take_turns(desk: Desk, threads: ThreadPoolExecutor) -> None:
    desk.sync_ticket(ticket())
    with hosts(desk, "Mon 09:20", "Mon 09:30") as (one, two):
        one("pause_sla", "t1")
        second = threads.submit(two, "record_first_response", "t1")
        assert waits(second)
        one.commit()
        assert second.result(5).is_paused
        two.commit()
    assert desk.facts() == ["started Mon 09:00", "paused Mon 09:20 manual", "answered Mon 09:30"]
    assert desk.alarm()["version"] == 3
    desk.assert_as_expected()


def test_a_writer_that_rolls_back_was_never_there(desk: Desk, threads: ThreadPoolExecutor) -> None:
    with hosts(desk, "Mon 09:20", "Mon 09:30") as (one, two):
        one("sync_ticket", ticket())
        second = threads.submit(two, "sync_ticket", ticket(status_id="waiting"))
        assert waits(second)
        one.conn.rollback()
        second.result(5)
        two.commit()
    assert desk.facts() == ["started Mon 09:00", "paused Mon 09:00 status"]


def test_different_tickets_do_not_wait_even_under_a_new_promise(desk: Desk, threads: ThreadPoolExecutor) -> None:
    with hosts(desk, "Mon 09:20", "Mon 09:20", "Mon 09:20") as (one, two, three):
        one("sync_ticket", ticket("t1"))  # writes a promise that nobody has committed
        threads.submit(two, "sync_ticket", ticket("t2")).result(5)
        two.commit()
        threads.submit(three, "sync_ticket", ticket("t3")).result(5)
        three.commit()
        one.commit()
    assert len({row["promise_id"] for row in desk.sql("SELECT promise_id FROM slaq.sla_promises")}) == 2
    for number in (1, 2, 3):
        before = desk.facts(f"t{number}")
        desk.at("Mon 09:25").sync_ticket(ticket(f"t{number}"))  # the same promise, whichever copy of it is kept
        assert desk.facts(f"t{number}") == before == ["started Mon 09:00"]


def test_redelivered_at_once(desk: Desk) -> None:
    with hosts(desk, *["Mon 09:20"] * 8) as opened:

        def deliver(host: Host) -> None:
            host("sync_ticket", ticket(status_id="waiting"))
            host("record_first_response", "t1", at=instant("Mon 09:10"))
            host.commit()

        assert at_once(*(lambda host=host: deliver(host) for host in opened)) == [None] * 8
    assert desk.facts() == ["started Mon 09:00", "paused Mon 09:00 status", "answered Mon 09:10"]
    assert desk.audit().count("response_recorded") == desk.audit().count("sla_started") == 1


def test_overlapping_sets_in_any_order(desk: Desk) -> None:
    ids = [f"t{number}" for number in range(12)]
    sets = [ids, ids[::-1], ids[3:9], ids[8:2:-1], ids[::2], ids[::-3], ids[1::2], ids[5:] + ids[:5]]
    for when, status in (("Mon 09:20", "new"), ("Mon 09:30", "waiting"), ("Mon 09:40", "new")):
        with hosts(desk, *[when] * len(sets)) as opened:

            def sync(host: Host, wanted: list[str], status: str = status) -> None:
                host("sync_tickets", [ticket(each, status_id=status) for each in wanted])
                host.commit()

            outcomes = at_once(*(lambda host=host, wanted=wanted: sync(host, wanted) for host, wanted in zip(opened, sets, strict=True)))
            assert outcomes == [None] * len(sets)
    for each in ids:
        assert desk.facts(each) == ["started Mon 09:00", "paused Mon 09:30 status", "resumed Mon 09:40 status"]


def test_deleted_while_another_waits_to_write(desk: Desk, threads: ThreadPoolExecutor) -> None:
    desk.sync_ticket(ticket())
    with hosts(desk, "Mon 09:20", "Mon 09:30", "Mon 09:30") as (one, two, three):
        one("delete_ticket", "t1")
        second = threads.submit(two, "pause_sla", "t1")
        assert waits(second)
        one.commit()
        with pytest.raises(UnknownTicket):
            second.result(5)
        three("sync_ticket", ticket(status_id="waiting"))  # although the second transaction is still open
        three.commit()
    assert desk.facts() == ["started Mon 09:00", "paused Mon 09:00 status"]
    assert desk.audit().count("ticket_deleted") == 1


def test_written_while_another_waits_to_delete(desk: Desk, threads: ThreadPoolExecutor) -> None:
    desk.sync_ticket(ticket())
    with hosts(desk, "Mon 09:20", "Mon 09:30") as (one, two):
        one("pause_sla", "t1")
        second = threads.submit(two, "delete_ticket", "t1")
        assert waits(second)
        one.commit()
        assert second.result(5) is True
        two.commit()
    assert (desk.row(), desk.facts(), desk.alarm()) == ({}, [], {})
    assert desk.audit() == ["sla_started", "sla_paused", "ticket_deleted"]


class TestWithTheTimer:
    def test_a_held_ticket_is_passed_by_and_told_by_its_holder_or_later(self, lone_desk: Desk) -> None:
        desk = lone_desk
        desk.sync_tickets([ticket("t1"), ticket("t2")])
        with hosts(desk, "Mon 09:35") as (holder,):
            holder("sync_ticket", ticket("t1", title="Held"))
            done = sweep(desk.dsn)
            assert (done.settled, done.failed) == (1, 0)
            assert desk.crossings("t1") == []
            assert len(desk.crossings("t2")) > 8
            holder.commit()
        assert desk.crossings("t1") == ["response 50% Mon 09:30"]
        assert sweep(desk.dsn).settled == 1
        for each in ("t1", "t2"):
            desk.assert_as_expected(each, instant("Fri 12:00"))
            assert len(set(desk.crossings(each))) == len(desk.crossings(each))

    def test_a_settling_that_has_been_overtaken_is_not_written(self, lone_desk: Desk) -> None:
        desk = lone_desk
        desk.sync_ticket(ticket())
        version = desk.alarm()["version"]
        desk.at("Mon 09:10").record_first_response("t1")
        rows = desk.sql(
            "SELECT slaq.settle_ticket(%s, 't1', %s, %s::jsonb) AS outcome", desk.tenant, version,
            '{"now": "2024-01-08T10:00:00Z", "by": "polling", "ticket": {"sla_response_met": false}, "tell": [], "due_at": null}',
        )  # fmt: skip
        assert rows == [{"outcome": "stale"}]
        assert desk.row()["sla_response_met"] is True

    def test_writers_and_timers_at_once(self, lone_desk: Desk) -> None:
        desk = lone_desk
        ids = [f"t{number}" for number in range(10)]
        desk.sync_tickets([ticket(each) for each in ids])
        stop = threading.Event()

        def pass_by() -> None:
            while not stop.is_set():
                sweep(desk.dsn)

        verbs: list[tuple[str, list[str], dict[str, Any]]] = [
            ("pause_sla", [], {}), ("handle_priority_change", ["normal"], {}), ("record_first_response", [], {}),
            ("handle_response_state_change", ["awaiting_client"], {}),
        ]  # fmt: skip

        def write(host: Host, verb: str, args: list[str], options: dict[str, Any]) -> None:
            for each in ids:
                host(verb, each, *args, **options)
                host.commit()

        def write_all() -> None:
            try:
                with hosts(desk, "Tue 10:00", "Tue 11:00", "Tue 12:00", "Tue 13:00") as opened:
                    calls = [lambda host=host, verb=verb: write(host, *verb) for host, verb in zip(opened, verbs, strict=True)]
                    outcomes.extend(at_once(*calls))
            finally:
                stop.set()

        outcomes: list[Any] = []
        at_once(pass_by, pass_by, write_all)
        assert outcomes == [None] * 4
        sweep(desk.dsn)
        for each in ids:
            facts = desk.facts(each)
            assert len(facts) == 5, facts
            keys = [(r.crossing.phase, r.crossing.kind, r.crossing.percent) for r in desk.state(each).records if not r.is_voided]
            assert len(keys) == len(set(keys))
            told = desk.sql("SELECT count(*) AS n FROM slaq.sla_notifications WHERE ticket_id = %s GROUP BY crossing_id, user_id", each)
            assert {row["n"] for row in told} == {1}
            assert desk.row(each)["sla_response_met"] is False
            assert desk.alarm(each)["due_at"] is None


def test_reading_waits_for_nobody(desk: Desk, threads: ThreadPoolExecutor) -> None:
    desk.sync_ticket(ticket())
    with hosts(desk, "Mon 09:20") as (holder,):
        holder("pause_sla", "t1")

        def read(conn: Connection[Any]) -> int:
            return len(run(conn, read_ticket(desk.tenant, "t1", "slaq"))[0].facts)

        assert threads.submit(read, desk.conn).result(5) == 1
