"""The timer over a real database: what is due is told, once, whoever else is at work."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from slaq.clock import FixedClock
from slaq.jobs import timer as timer_module
from slaq.jobs import worker as worker_module
from slaq.jobs.timer import Timer
from slaq.services.service import SyncSlaService
from slaq.store import tickets as parsed
from slaq.store.tenancy import run_with_tenant
from worker.desk import (
    DESK,
    POLICY,
    alarm,
    assert_as_expected,
    configure,
    crossings,
    enter,
    now,
    pool_of,
    rows,
    ticket,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def desk(app_conn: Connection[Any]) -> Connection[Any]:
    configure(app_conn)
    return app_conn


async def sweep(dsn: str, **options: Any) -> timer_module.Pass:
    async with pool_of(dsn) as pool:
        return await Timer(pool, "slaq", **options).sweep()


@pytest.fixture
def superuser(superuser_dsn: str) -> Any:
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        yield conn


async def test_settles_what_is_due_and_arms_the_next_alarm(desk: Connection[Any], dsn: str) -> None:
    ids = enter(desk, *[31 * MINUTE] * 3, 10 * MINUTE)
    done = await sweep(dsn)
    assert (done.leased, done.settled, done.told, done.failed) == (3, 3, 3, 0)
    found = crossings(desk)
    assert [(c["ticket_id"], c["phase"], c["kind"], c["percent"], c["claimed_by"]) for c in found] == [
        (ticket_id, "response", "threshold", 50, "polling") for ticket_id in ids[:3]
    ]
    armed = alarm(desk, ids[0])
    assert armed["due_at"] - found[0]["crossed_at"] == 12 * MINUTE  # escalation level 1 at 70 % of 60 minutes
    assert (armed["lease_until"], armed["failures"]) == (None, 0)
    assert_as_expected(desk, ids)
    assert (await sweep(dsn)).leased == 0


async def test_tells_everything_that_an_outage_left(desk: Connection[Any], dsn: str) -> None:
    ids = enter(desk, timedelta(hours=30), timedelta(hours=7), timedelta(minutes=59))
    done = await sweep(dsn)
    assert done.settled == 3
    assert_as_expected(desk, ids)
    told = [(c["phase"], c["kind"], c["percent"]) for c in crossings(desk, ticket_id=ids[0])]
    assert len(told) == 2 * (3 + 3 + 1)
    stored = rows(desk, "SELECT * FROM slaq.tickets WHERE ticket_id = %(id)s", id=ids[0])[0]
    assert (stored["sla_response_met"], stored["sla_response_at"], stored["escalation_level"]) == (False, None, 3)
    assert alarm(desk, ids[0])["due_at"] is None


async def test_a_ticket_has_a_transaction_of_its_own(desk: Connection[Any], dsn: str, superuser: Any) -> None:
    """A row that the database refuses takes back its own ticket alone."""
    ids = enter(desk, *[31 * MINUTE] * 3)
    superuser.execute(
        """CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN IF NEW.ticket_id = 'T-0002' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$"""
    )
    superuser.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON slaq.sla_audit_log FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    done = await sweep(dsn)
    assert (done.settled, done.failed) == (2, 1)
    assert {c["ticket_id"] for c in crossings(desk)} == {ids[0], ids[2]}
    assert rows(desk, "SELECT * FROM slaq.sla_notifications WHERE ticket_id = 'T-0002'") == []
    superuser.execute("DROP TRIGGER refuse ON slaq.sla_audit_log")
    superuser.execute("UPDATE slaq.sla_alarms SET retry_at = NULL")
    assert (await sweep(dsn)).settled == 1
    assert_as_expected(desk, ids)
    assert alarm(desk, "T-0002")["failures"] == 0


@pytest.mark.parametrize("broken", ['{"schedule": 7}', '{"schedule": null, "thresholds": 1}', '"nonsense"'])
async def test_a_corrupt_promise_puts_off_its_own_tickets_alone(
    broken: str, desk: Connection[Any], dsn: str, superuser: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids = enter(desk, *[31 * MINUTE] * 5)
    due = alarm(desk, ids[2])["due_at"]
    superuser.execute("INSERT INTO slaq.sla_promises VALUES ('acme', 'broken', %s)", [broken])
    superuser.execute("UPDATE slaq.sla_facts SET promise_id = 'broken' WHERE ticket_id = 'T-0003'")
    with caplog.at_level(logging.ERROR, "slaq.timer"):
        done = await sweep(dsn)
    assert (done.leased, done.settled, done.failed) == (5, 4, 1)
    assert "ticket T-0003 of tenant acme" in caplog.text
    put_off = alarm(desk, "T-0003")
    assert put_off["failures"] == 1
    assert put_off["due_at"] == due
    assert put_off["last_error"]
    assert 8 < (put_off["retry_at"] - now(desk)).total_seconds() <= 10
    assert (await sweep(dsn)).leased == 0


async def test_a_failing_ticket_waits_twice_as_long_each_time_up_to_an_hour(
    desk: Connection[Any], dsn: str, superuser: Any
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    due = alarm(desk, ticket_id)["due_at"]
    superuser.execute("""UPDATE slaq.sla_promises SET body = '"nonsense"'""")
    parsed._promises[:] = {}, {}
    waits = []
    for _ in range(12):
        assert (await sweep(dsn)).failed == 1
        row = alarm(desk, ticket_id)
        waits.append(round((row["retry_at"] - now(desk)).total_seconds()))
        assert row["due_at"] == due
        superuser.execute("UPDATE slaq.sla_alarms SET retry_at = NULL")
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]


async def test_a_locked_ticket_is_skipped_and_told_later(desk: Connection[Any], dsn: str, connect: Any) -> None:
    ids = enter(desk, *[31 * MINUTE] * 3)
    holder = connect()
    rows_locked(holder, ids[1])
    done = await sweep(dsn)
    assert (done.leased, done.settled) == (2, 2)
    holder.rollback()
    assert (await sweep(dsn)).settled == 1
    assert_as_expected(desk, ids)


def rows_locked(holder: Connection[Any], ticket_id: str) -> None:
    holder.execute("SELECT set_config('slaq.tenant', 'acme', true)")
    assert holder.execute("SELECT FROM slaq.sla_alarms WHERE ticket_id = %s FOR UPDATE", [ticket_id]).rowcount == 1


async def test_a_ticket_that_is_locked_after_the_lease_is_left_alone(
    desk: Connection[Any], dsn: str, connect: Any
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    holder = connect()
    async with pool_of(dsn) as pool:
        timer = Interrupted(pool, "slaq")
        lock_between(timer, lambda: rows_locked(holder, ticket_id))
        done = await timer.run_pass()
        assert (done.leased, done.locked, done.settled) == (1, 1, 0)


class Interrupted(Timer):
    """One whose methods a test may replace."""


def lock_between(timer: Interrupted, act: Any) -> None:
    """Have ``act`` happen between a lease and the settling."""
    settle = timer._settle

    async def between(*arguments: Any) -> None:
        act()
        await settle(*arguments)

    timer._settle = between


async def test_the_wait_for_locked_tickets_grows_to_half_a_minute(
    desk: Connection[Any], dsn: str, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    rows_locked(connect(), ticket_id)
    slept: list[float] = []
    stop = asyncio.Event()

    async def sleep(seconds: float, stop: asyncio.Event) -> None:
        slept.append(seconds)
        if len(slept) == 1100:  # far beyond what a power of two would fit in a float
            stop.set()

    monkeypatch.setattr(timer_module, "sleep", sleep)
    async with pool_of(dsn) as pool:
        timer = Interrupted(pool, "slaq")
        looked = await timer.run_pass()
        clock = timer_module.Reading(now(desk))
        assert looked.leased == 0
        assert (await timer._until_next(clock))[1] is True

        async def nothing(_: Any = None) -> timer_module.Pass:
            return timer_module.Pass()

        async def blocked(_: Any) -> tuple[float, bool]:
            return 30.0, True

        timer._until_next = blocked
        timer.run_pass = nothing
        await timer.run(stop)
    assert slept[:8] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert slept[-1] == 30


async def test_a_ticket_that_changed_after_the_lease_is_read_again(
    desk: Connection[Any], dsn: str, connect: Any
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    answered_at = now(desk) - 20 * MINUTE
    other = connect()

    def answer() -> None:
        with run_with_tenant("acme"), other.transaction():
            SyncSlaService(clock=FixedClock(answered_at)).record_first_response(other, ticket_id)

    async with pool_of(dsn) as pool:
        timer = Interrupted(pool, "slaq")
        lock_between(timer, answer)
        done = await timer.run_pass()
        assert (done.stale, done.settled, done.told) == (1, 0, 0)
        assert (await Timer(pool, "slaq").sweep()).leased == 0
    assert crossings(desk) == []
    assert alarm(desk, ticket_id)["due_at"] > now(desk)


async def test_a_lock_on_a_row_of_the_ticket_holds_up_nobody_for_long(
    desk: Connection[Any], dsn: str, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a user is deleted and his tickets are changed with him, in a transaction that takes its time."""
    monkeypatch.setattr(worker_module, "LOCK_TIMEOUT", "300ms")
    ids = enter(desk, *[31 * MINUTE] * 3)
    holder = connect()
    holder.execute("SELECT set_config('slaq.tenant', 'acme', true)")
    holder.execute("SELECT FROM slaq.tickets WHERE ticket_id = %s FOR UPDATE", [ids[0]])
    done = await sweep(dsn, concurrency=1)
    assert (done.settled, done.failed) == (2, 1)
    assert "lock timeout" in alarm(desk, ids[0])["last_error"]


async def test_a_ticket_that_was_deleted_after_the_lease_is_forgotten(
    desk: Connection[Any], dsn: str, connect: Any
) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    other = connect()

    def delete() -> None:
        with run_with_tenant("acme"), other.transaction():
            SyncSlaService().delete_ticket(other, ticket_id)

    async with pool_of(dsn) as pool:
        timer = Interrupted(pool, "slaq")
        lock_between(timer, delete)
        done = await timer.run_pass()
        assert (done.leased, done.settled, done.failed) == (1, 0, 0)
        assert (await Timer(pool, "slaq").sweep()).leased == 0
    assert crossings(desk) == []


async def test_an_alarm_that_temporal_owns_is_taken_when_it_is_overdue(
    desk: Connection[Any], dsn: str, superuser: Any
) -> None:
    ids = enter(desk, 30.5 * MINUTE, 32 * MINUTE)
    superuser.execute("UPDATE slaq.sla_alarms SET backend = 'temporal'")
    async with pool_of(dsn) as pool:
        timer = Timer(pool, "slaq", grace=MINUTE)
        assert (await timer.sweep()).settled == 1
        assert {c["ticket_id"] for c in crossings(desk)} == {ids[1]}
        assert (await timer._until_next(timer_module.Reading(now(desk))))[1] is False
        assert (await Timer(pool, "slaq", grace=timedelta(seconds=2)).sweep()).settled == 1


async def test_two_timers_share_what_is_due(desk: Connection[Any], dsn: str) -> None:
    ids = enter(desk, *[61 * MINUTE] * 40)
    async with pool_of(dsn) as one, pool_of(dsn) as other:
        done = await asyncio.gather(*(Timer(pool, "slaq").sweep() for pool in (one, other, one, other)))
    assert sum(d.leased for d in done) == sum(d.settled for d in done) == 40
    assert_as_expected(desk, ids)


async def test_a_crossing_is_told_once_by_timers_that_race_for_it(
    desk: Connection[Any], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with a lease that protects nothing: both have every ticket in hand before either settles one."""
    monkeypatch.setattr(timer_module, "LEASE", timedelta())
    barrier = asyncio.Barrier(2 * 4)

    class Racing(Timer):
        async def _drain(self, work: Any) -> None:
            await barrier.wait()
            await super()._drain(work)

    ids = enter(desk, *[61 * MINUTE] * 20)
    async with pool_of(dsn) as one, pool_of(dsn) as other:
        first = asyncio.create_task(Racing(one, "slaq").run_pass())
        while barrier.n_waiting < 4:
            await asyncio.sleep(0.01)
        passes = [await Racing(other, "slaq").run_pass(), await first]
    assert [d.leased for d in passes] == [20, 20]
    assert sum(d.settled for d in passes) == 20
    assert sum(d.locked + d.stale for d in passes) == 20
    assert_as_expected(desk, ids)


async def test_the_tickets_of_a_timer_that_died_are_taken_when_its_lease_ends(desk: Connection[Any], dsn: str) -> None:
    ids = enter(desk, *[31 * MINUTE] * 3)
    async with pool_of(dsn) as pool:
        dead, alive = Interrupted(pool, "slaq"), Timer(pool, "slaq")

        async def die(*_: Any) -> None:
            raise RuntimeError("killed")

        dead._settle = die
        with pytest.raises(ExceptionGroup):
            await dead.run_pass()
        assert (await alive.run_pass()).leased == 0
        leased_until = alarm(desk, ids[0])["lease_until"]
        assert 8 < (leased_until - now(desk)).total_seconds() <= 10
        later = timer_module.Reading(leased_until)
        assert (await alive.run_pass(later)).settled == 3
    assert_as_expected(desk, ids)


async def test_a_crossing_is_never_told_early_and_soon_after(desk: Connection[Any], dsn: str) -> None:
    at = now(desk)
    dues = [0.4, 0.7, 0.7, 1.3]
    for number, ahead in enumerate(dues, start=1):
        with run_with_tenant("acme"), desk.transaction():
            entered = at + timedelta(seconds=ahead) - 30 * MINUTE
            SyncSlaService(clock=FixedClock(entered)).sync_ticket(desk, ticket(number, entered))
    stop = asyncio.Event()
    async with pool_of(dsn) as pool:
        running = asyncio.create_task(Timer(pool, "slaq", interval=5.0).run(stop))
        for _ in range(100):
            await asyncio.sleep(0.05)
            if len(crossings(desk)) == 4:
                break
        stop.set()
        await asyncio.wait_for(running, 5)
    found = crossings(desk)
    assert len(found) == 4
    late = [(c["noticed_at"] - c["crossed_at"]).total_seconds() for c in found]
    assert min(late) >= 0
    assert max(late) < 0.5


async def test_a_clock_that_is_behind_waits_and_tells_nothing_early(desk: Connection[Any], dsn: str) -> None:
    (ticket_id,) = enter(desk, 31 * MINUTE)
    due = alarm(desk, ticket_id)["due_at"]
    async with pool_of(dsn) as pool:
        timer = Timer(pool, "slaq")
        assert (await timer.run_pass(timer_module.Reading(due - timedelta(milliseconds=1)))).leased == 0
        assert (await timer.run_pass(timer_module.Reading(due))).told == 1


async def test_several_tenants_in_one_pass(app_conn: Connection[Any], dsn: str) -> None:
    """The promise of acme and of globex has the same content, hence ids that begin alike."""
    other = dict(DESK) | {"policies": {"gold": dict(POLICY) | {"thresholds": {40: {}}}}}
    for tenant, document in (("acme", DESK), ("globex", DESK), ("initech", other)):
        configure(app_conn, document, tenant)
        enter(app_conn, *[31 * MINUTE] * 2, tenant=tenant)
    promises = {
        t: rows(app_conn, "SELECT promise_id FROM slaq.sla_promises", t)[0]["promise_id"][:32]
        for t in ("acme", "globex", "initech")
    }
    assert promises["acme"] == promises["globex"] != promises["initech"]
    parsed._promises[:] = {}, {}
    async with pool_of(dsn) as pool:
        done = await Timer(pool, "slaq").run_pass()
    assert (done.leased, done.settled, done.failed) == (6, 6, 0)
    for tenant in promises:
        assert_as_expected(app_conn, ["T-0001", "T-0002"], tenant)
    assert {c["percent"] for c in crossings(app_conn, "initech")} == {40}
    assert {c["percent"] for c in crossings(app_conn, "globex")} == {50}


async def test_only_a_worker_sees_across_tenants(server: Any, superuser: Any, database: str) -> None:
    superuser.execute("CREATE ROLE plain LOGIN")
    superuser.execute("GRANT slaq_application TO plain")
    try:
        with psycopg.connect(server.conninfo(database, "plain")) as conn:
            for call in ("lease_due(1, now(), '1s', '1s')", "next_wake(now())", "promise_bodies_of_all('[]')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                    conn.execute(f"SELECT slaq.{call}")
    finally:
        superuser.execute("DROP OWNED BY plain")
        superuser.execute("DROP ROLE plain")


def test_a_look_reads_the_index_however_many_are_open(superuser: Any) -> None:
    superuser.execute("INSERT INTO slaq.tenants VALUES ('acme', 'Acme')")
    superuser.execute(
        """INSERT INTO slaq.sla_alarms (tenant, ticket_id, due_at)
           SELECT 'acme', 'T-' || n, clock_timestamp() + n * interval '1 second' FROM generate_series(-500, 100000) n"""
    )
    superuser.execute("ANALYZE slaq.sla_alarms")
    for call in ("lease_due(100, clock_timestamp(), interval '1 ms', interval '0')", "next_wake(clock_timestamp())"):
        for _ in range(8):  # from the sixth call on the server may prefer a plan for any parameters
            with superuser.transaction():
                superuser.execute(f"SELECT slaq.{call}")
                scans, fetched = superuser.execute(
                    "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relid = 'slaq.sla_alarms'::regclass"
                ).fetchone()
            assert scans == 0
            assert fetched < 2000
