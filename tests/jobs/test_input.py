"""What cannot be is refused at the call, by a message that names it; the transaction stays usable."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from inspect import signature
from uuid import UUID

import psycopg
import pytest

from slaq.errors import TransactionRequired
from slaq.jobs import InvalidJob, JobQueue, SyncJobQueue, UnknownQueue


@pytest.fixture
def sync(app_conn):
    queue = SyncJobQueue()
    queue.create_queue(app_conn, "invoices")
    queue.create_queue(app_conn, "invitations")
    queue.create_queue(app_conn, "strict", policy="key_strict_fifo")
    return queue


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"priority": "high"}, "priority 'high'"),
        ({"priority": 2**40}, str(2**40)),
        ({"priority": True}, "priority True"),
        ({"retry_limit": -1}, "retry_limit -1"),
        ({"retry_delay": "5"}, "retry_delay '5'"),
        ({"retry_delay": float("nan")}, "retry_delay nan"),
        ({"retry_delay": timedelta(seconds=-1)}, "retry_delay"),
        ({"retry_delay_max": 5}, "needs retry_backoff"),
        ({"expire_in": 0}, "expire_in 0"),
        ({"expire_in": timedelta(days=2)}, "expire_in"),
        ({"start_after": datetime(2026, 1, 1)}, "not an aware datetime"),
        ({"start_after": "tomorrow"}, "'tomorrow'"),
        ({"key": ""}, "key ''"),
        ({"key": 7}, "key 7"),
        ({"dead_letter": "a b"}, "'a b'"),
        ({"group": {"name": "x"}}, "no group"),
        ({"singleton_key": "k"}, "option 'singleton_key' is none of"),
    ],
)
def test_options(sync, app_conn, options, named):
    with pytest.raises(InvalidJob, match=named.replace("(", r"\(")):
        sync.send(app_conn, "invoices", **options)
    assert sync.send(app_conn, "invoices") is not None


@pytest.mark.parametrize("data", [object(), {"a": {1, 2}}, float("inf"), "x" * 1_000_001, "a\x00b", b"bytes"])
def test_payloads(sync, app_conn, data):
    with pytest.raises(InvalidJob, match="data"):
        sync.send(app_conn, "invoices", data)


def test_dates_decimals_and_uuids_become_strings(sync, app_conn):
    job = sync.send(
        app_conn, "invoices", [date(2026, 1, 2), Decimal("1.10"), UUID(int=1), datetime(2026, 1, 2, tzinfo=UTC)]
    )
    assert sync.get_job(app_conn, "invoices", job).data == [
        "2026-01-02", "1.10", "00000000-0000-0000-0000-000000000001", "2026-01-02T00:00:00+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 41, "a:b", None, 3])
def test_queue_names(sync, app_conn, name):
    with pytest.raises(InvalidJob, match="queue"):
        sync.create_queue(app_conn, name)
    with pytest.raises(InvalidJob):
        sync.send(app_conn, name)


def test_the_longest_name_works(sync, app_conn):
    sync.create_queue(app_conn, "x" * 40)
    assert sync.send(app_conn, "x" * 40) is not None


def test_unknown_queues_list_near_names_and_leave_the_transaction_usable(sync, app_conn):
    with pytest.raises(UnknownQueue, match="'invoices'"):
        sync.send(app_conn, "invoice")
    with pytest.raises(UnknownQueue, match="there are 'invitations', 'invoices', "):
        sync.fetch(app_conn, "zzz")
    for call in (
        lambda: sync.schedule(app_conn, "nope", "* * * * *"),
        lambda: sync.subscribe(app_conn, "e", "nope"),
        lambda: sync.update_queue(app_conn, "nope", retry_limit=1),
        lambda: sync.create_queue(app_conn, "new", dead_letter="nope"),
        lambda: sync.send_throttled(app_conn, "nope", seconds=5),
        lambda: sync.insert(app_conn, "nope", [{}]),
        lambda: sync.redrive(app_conn, "nope"),
    ):
        with pytest.raises(UnknownQueue, match="nope"):
            call()
    assert sync.send(app_conn, "invoices") is not None


def test_further_refusals(sync, app_conn):
    for call, named in (
        (lambda: sync.create_queue(app_conn, "p", policy="fifo"), "'fifo'"),
        (lambda: sync.create_queue(app_conn, "p", dead_letter="p"), "its own dead letter"),
        (lambda: sync.create_queue(app_conn, "p", priority=3), "'priority'"),
        (lambda: sync.send(app_conn, "strict"), "needs a key"),
        (lambda: sync.insert(app_conn, "strict", [{"key": "a"}, {}]), "needs a key"),
        (lambda: sync.insert(app_conn, "invoices", [{}, {"priority": "x"}]), "job 1 of the insert"),
        (lambda: sync.send_throttled(app_conn, "invoices", seconds=0), "seconds 0"),
        (lambda: sync.fetch(app_conn, "invoices", 0), "limit 0"),
        (lambda: sync.complete(app_conn, "invoices", "seven"), "'s'"),
        (lambda: sync.find_jobs(app_conn, states=["done"]), "'done'"),
        (lambda: sync.update(app_conn, "invoices", key="k", match="any", data=1), "'any'"),
        (lambda: sync.get_blocked_keys(app_conn, "invoices"), "key_strict_fifo"),
        (lambda: sync.schedule(app_conn, "invoices", "* * * *"), "five fields"),
        (lambda: sync.schedule(app_conn, "invoices", "61 * * * *"), "'61"),
        (lambda: sync.schedule(app_conn, "invoices", "0 0 30 2 *"), "never comes true"),
        (lambda: sync.schedule(app_conn, "invoices", "* * * * *", tz="Mars/Base"), "'Mars/Base'"),
        (lambda: sync.schedule(app_conn, "invoices", "* * * * *", missed="all"), "'all'"),
    ):
        with pytest.raises(InvalidJob, match=named):
            call()
    assert sync.send(app_conn, "invoices") is not None


def test_a_failed_transaction_is_refused(sync, app_conn):
    with pytest.raises(psycopg.Error):
        app_conn.execute("SELECT 1 / 0")
    with pytest.raises(TransactionRequired, match="has failed"):
        sync.send(app_conn, "invoices")


def test_both_faces_have_the_same_verbs():
    def verbs(face):
        return {
            name: [(p.name, p.kind, p.default) for p in signature(verb).parameters.values()]
            for name, verb in vars(face).items() if callable(verb) and not name.startswith("__")
        }  # fmt: skip

    assert verbs(JobQueue) == verbs(SyncJobQueue)


def test_applications_cannot_reach_behind_the_functions(dsn, superuser_dsn):
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS only_application")
        admin.execute("CREATE ROLE only_application LOGIN IN ROLE slaq_application")
    queue = SyncJobQueue()
    with psycopg.connect(superuser_dsn, autocommit=True) as conn:
        conn.execute("SET SESSION AUTHORIZATION only_application")
        queue.create_queue(conn, "q")
        queue.send(conn, "q", 1)
        (job,) = queue.fetch(conn, "q")
        assert queue.complete(conn, "q", job).affected == 1
        queue.schedule(conn, "q", "* * * * *")
        queue.supervise(conn)
        for table in ("procrastinate_jobs", "queues", "job_slots", "job_outcomes", "queue_schedules"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"SELECT FROM slaq.{table}")
        conn.execute("RESET SESSION AUTHORIZATION")
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        admin.execute("DROP ROLE only_application")


def test_a_trigger_may_send(superuser_dsn, sync, app_conn):
    app_conn.commit()
    with psycopg.connect(superuser_dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE public.orders (id integer)")
        admin.execute(
            """CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM slaq.send_job('invoices', to_jsonb(NEW), '{"priority": 3}'); RETURN NEW; END $$"""
        )
        admin.execute("CREATE TRIGGER tell AFTER INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.tell()")
        admin.execute("INSERT INTO public.orders VALUES (7)")
    (job,) = sync.find_jobs(app_conn, "invoices")
    assert (job.data, job.priority) == ({"id": 7}, 3)


async def test_tasks_may_share_an_autocommit_connection(dsn):
    queue = JobQueue()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await queue.create_queue(conn, "q")
        sent = await asyncio.gather(*(queue.send(conn, "q", n) for n in range(20)))
        assert len(set(sent)) == 20
        assert len(await queue.find_jobs(conn, "q")) == 20
