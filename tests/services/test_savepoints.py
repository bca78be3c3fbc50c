"""The caller's transaction: an error leaves it usable and unchanged, and nothing is committed for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from services.build import Desk, instant, ticket
from slaq import SlaService, SyncSlaService, Ticket, run_with_tenant
from slaq.errors import (
    InputError,
    InvalidInstant,
    InvalidTicket,
    TenantRequired,
    TransactionRequired,
    UnknownReference,
    UnknownTicket,
)

HOSTILE = ["'; DROP TABLE slaq.tickets; --", '"quoted"', "back\\slash", "%s %(x)s", "émoji 🎉", "$$", "\u202e\x01\x7f", "a" * 2000]
BAD_TEXT = ["", "nul\0", "\ud800", 5, None, b"bytes", [], {}]
BAD_INSTANTS = [
    datetime(2024, 1, 8, 9), "2024-01-08T09:00:00Z", 5, instant("Mon 12:00"), datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))), datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
]  # fmt: skip
VERBS: dict[str, list[Any]] = {
    "record_first_response": [], "record_resolution": [], "reopen": [], "pause_sla": [], "resume_sla": [], "cancel_sla": [],
    "release_policy": [], "handle_status_change": ["waiting"], "handle_response_state_change": ["awaiting_client"],
    "handle_priority_change": ["normal"], "handle_policy_change": ["silver"], "start_sla_for_ticket": [],
}  # fmt: skip


@pytest.fixture
def host(desk: Desk) -> Desk:
    """A desk with a ticket, in a transaction that has written something of the host's."""
    desk.sync_ticket(ticket())
    desk.conn.execute("CREATE TEMPORARY TABLE host (note text)")
    desk.conn.commit()
    return desk


class Unharmed:
    """Around a call that must fail: afterwards the transaction is as it was, and goes on."""

    def __init__(self, desk: Desk, error: type[Exception]) -> None:
        self.desk, self.error = desk, error

    def __enter__(self) -> None:
        self.desk.conn.execute("INSERT INTO host VALUES ('kept')")
        self.before = self._seen()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        assert kind is not None and issubclass(kind, self.error), f"{kind}: {error}"
        assert self.desk.conn.info.transaction_status == TransactionStatus.INTRANS
        assert self._seen() == self.before
        self.desk.conn.rollback()
        assert self.desk.conn.execute("SELECT count(*) FROM host").fetchone() == (0,)
        self.desk.conn.rollback()
        return True

    def _seen(self) -> Any:
        tables = ("tickets", "sla_facts", "sla_alarms", "sla_crossings", "sla_audit_log", "sla_notifications", "sla_promises")
        return [
            self.desk.sql(f"SELECT to_jsonb(t)::text FROM slaq.{table} t ORDER BY 1", commit=False) for table in tables
        ] + [self.desk.conn.execute("SELECT count(*) FROM host").fetchone()]


def call(desk: Desk, verb: str, *args: Any, **options: Any) -> Any:
    with run_with_tenant(desk.tenant):
        return getattr(desk.sla, verb)(desk.conn, *args, **options)


@pytest.mark.parametrize("verb", VERBS)
def test_bad_instants(host: Desk, verb: str) -> None:
    for at in BAD_INSTANTS:
        with Unharmed(host, InvalidInstant):
            call(host, verb, "t1", *VERBS[verb], at=at)


def test_instants_out_of_range() -> None:
    for at in BAD_INSTANTS:
        if at not in (BAD_INSTANTS[3], BAD_INSTANTS[4]):
            with pytest.raises(InvalidInstant):
                Ticket(ticket_id="t", entered_at=at)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["entered_at", "closed_at", "status_changed_at", "response_state_changed_at"])
def test_a_ticket_from_the_future(host: Desk, field: str) -> None:
    for verb in ("sync_ticket", "start_sla_for_ticket"):
        with Unharmed(host, InvalidInstant):
            call(host, verb, ticket("t9", **{field: instant("Mon 09:02")}))
        call(host, verb, ticket("t9", **{field: instant("Mon 09:01")}))
        host.conn.rollback()


@pytest.mark.parametrize("verb", VERBS)
def test_bad_ids_and_actors(host: Desk, verb: str) -> None:
    for bad in BAD_TEXT:
        with Unharmed(host, InvalidTicket):
            call(host, verb, bad, *VERBS[verb])
        if bad is not None:
            with Unharmed(host, InvalidTicket):
                call(host, verb, "t1", *VERBS[verb], actor=bad)
        if VERBS[verb] and (bad is not None or verb in ("handle_status_change", "handle_priority_change")):
            with Unharmed(host, InvalidTicket):
                call(host, verb, "t1", bad)
    with Unharmed(host, UnknownTicket):
        call(host, verb, "nobody", *VERBS[verb])
    with Unharmed(host, UnknownTicket):
        call(host, verb, HOSTILE[0], *VERBS[verb])


@pytest.mark.parametrize("bad", BAD_TEXT)
def test_bad_deletes_and_questions(host: Desk, bad: Any) -> None:
    for verb in ("delete_ticket", "get_sla_status"):
        with Unharmed(host, InvalidTicket):
            call(host, verb, bad)
    if bad is not None:
        with Unharmed(host, InvalidTicket):
            call(host, "delete_ticket", "t1", actor=bad)
    with Unharmed(host, InvalidInstant):
        call(host, "get_sla_status", "t1", at=datetime(2024, 1, 8))
    with Unharmed(host, UnknownTicket):
        call(host, "get_sla_status", "nobody")


@pytest.mark.parametrize(
    ("verb", "args"),
    [("handle_status_change", ["no such"]), ("handle_priority_change", ["no such"]), ("handle_policy_change", ["no such"]),
     ("handle_status_change", [HOSTILE[0]]), ("handle_policy_change", [HOSTILE[4]])],
)  # fmt: skip
def test_unknown_references(host: Desk, verb: str, args: list[Any]) -> None:
    with Unharmed(host, UnknownReference):
        call(host, verb, "t1", *args)


@pytest.mark.parametrize("field", ["client_id", "board_id", "priority_id", "status_id", "assigned_to"])
def test_unknown_references_of_a_ticket(host: Desk, field: str) -> None:
    for value in ("no such", HOSTILE[0], "🎉"):
        with Unharmed(host, UnknownReference):
            call(host, "sync_ticket", ticket(**{field: value}))


def test_ids_of_another_tenant_are_unknown(host: Desk, other_desk: Desk) -> None:
    other_desk.sql("INSERT INTO slaq.sla_policies (tenant, sla_policy_id, policy_name) VALUES (%s, 'theirs', 'Theirs')", other_desk.tenant)
    other_desk.sync_ticket(ticket("foreign"))
    with Unharmed(host, UnknownReference):
        call(host, "handle_policy_change", "t1", "theirs")
    for verb, args in VERBS.items():
        with Unharmed(host, UnknownTicket):
            call(host, verb, "foreign", *args)
    assert call(host, "delete_ticket", "foreign") is False
    assert other_desk.get_sla_status("foreign").status == "on_track"


@pytest.mark.parametrize("field", ["ticket_id", "ticket_number", "title", "url", "client_id", "board_id", "priority_id", "status_id", "assigned_to"])
def test_a_ticket_of_bad_text(field: str) -> None:
    for bad in BAD_TEXT:
        allowed = (field == "title" and bad == "") or (bad is None and field not in ("ticket_id", "ticket_number", "title"))
        if not allowed:
            with pytest.raises(InvalidTicket, match=field):
                Ticket(**{"ticket_id": "t", "entered_at": instant("Mon 09:00"), field: bad})


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_only_strings(host: Desk, text: str) -> None:
    host.sql("INSERT INTO slaq.statuses (tenant, status_id, status_name) VALUES (%s, %s, %s)", host.tenant, text, text)
    given = ticket(text, ticket_number=text, title=text, url=text, status_id=text)
    host.sync_ticket(given, actor=text)
    host.at("Tue 12:00").pause_sla(text, actor=text)
    assert host.get_sla_status(text).is_paused
    row = host.row(text)
    assert [row[field] for field in ("ticket_id", "ticket_number", "title", "url", "status_id")] == [text] * 5
    assert host.log(text)[0]["triggered_by"] == text
    assert host.delete_ticket(text, actor=text)


def test_an_id_too_long_for_an_index(host: Desk) -> None:
    import random

    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))
    with Unharmed(host, InvalidTicket):
        call(host, "sync_ticket", ticket(text))


@pytest.mark.parametrize("bad", [None, "t1", 5, {"ticket_id": "t1"}, object()])
def test_what_is_no_ticket(host: Desk, bad: Any) -> None:
    with Unharmed(host, InvalidTicket):
        call(host, "sync_ticket", bad)
    with Unharmed(host, InvalidTicket):
        call(host, "sync_tickets", [ticket(), bad])
    if not isinstance(bad, str):
        with Unharmed(host, InvalidTicket):
            call(host, "start_sla_for_ticket", bad)


@pytest.mark.parametrize("source", ["lunch", None, 5, [], "MANUAL"])
def test_unknown_pause_sources(host: Desk, source: Any) -> None:
    for verb in ("pause_sla", "resume_sla"):
        with Unharmed(host, InvalidTicket):
            call(host, verb, "t1", source=source)


def test_all_of_sync_tickets_or_none(host: Desk) -> None:
    with Unharmed(host, UnknownReference):
        call(host, "sync_tickets", [ticket("a"), ticket("b", priority_id="no such")])


class TestTransactions:
    def test_nothing_is_committed(self, desk: Desk) -> None:
        call(desk, "sync_ticket", ticket())
        assert desk.conn.info.transaction_status == TransactionStatus.INTRANS
        desk.conn.rollback()
        assert desk.row() == {}
        assert desk.jobs("sla-send-email", "sla-threshold-reached") == []

    def test_jobs_go_with_the_transaction(self, desk: Desk) -> None:
        call(desk.at("Tue 12:00"), "sync_ticket", ticket())
        assert desk.jobs("sla-threshold-reached") == []
        desk.conn.commit()
        assert len(desk.jobs("sla-threshold-reached")) > 0

    @pytest.mark.parametrize("verb", [*VERBS, "sync_ticket", "sync_tickets", "delete_ticket", "get_sla_status"])
    def test_autocommit_is_refused(self, shared_dsn: str, verb: str) -> None:
        args: list[Any] = {"sync_ticket": [ticket()], "sync_tickets": [[ticket()]]}.get(verb, ["t1", *VERBS.get(verb, [])])
        with psycopg.connect(shared_dsn, autocommit=True) as conn, run_with_tenant("acme"):
            with pytest.raises(TransactionRequired, match=r"conn\.transaction"):
                getattr(SyncSlaService(), verb)(conn, *args)
            assert conn.info.transaction_status == TransactionStatus.IDLE

    async def test_autocommit_is_refused_async(self, shared_dsn: str) -> None:
        async with await psycopg.AsyncConnection.connect(shared_dsn, autocommit=True) as conn:
            with run_with_tenant("acme"), pytest.raises(TransactionRequired):
                await SlaService().get_sla_status(conn, "t1")

    def test_autocommit_within_a_transaction_is_fine(self, desk: Desk) -> None:
        with psycopg.connect(desk.dsn, autocommit=True) as conn, run_with_tenant(desk.tenant):
            with conn.transaction():
                desk.sla.sync_ticket(conn, ticket())
                with conn.transaction(force_rollback=True):
                    desk.sla.record_first_response(conn, "t1")
            assert conn.info.transaction_status == TransactionStatus.IDLE
        assert desk.facts() == ["started Mon 09:00"]

    def test_a_failed_transaction_is_refused(self, desk: Desk) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            desk.conn.execute("SELECT 1 / 0")
        with pytest.raises(TransactionRequired, match="roll it back"):
            call(desk, "sync_ticket", ticket())
        assert desk.conn.info.transaction_status == TransactionStatus.INERROR

    def test_a_read_only_transaction_may_ask(self, host: Desk) -> None:
        host.conn.execute("SET TRANSACTION READ ONLY")
        assert call(host, "get_sla_status", "t1").status == "on_track"
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            call(host, "record_first_response", "t1")
        assert host.conn.info.transaction_status == TransactionStatus.INTRANS

    def test_an_interrupted_call_leaves_no_trace(self, host: Desk) -> None:
        host.conn.execute("SET LOCAL statement_timeout = '1s'")
        with psycopg.connect(host.dsn) as other, run_with_tenant(host.tenant):
            host.sla.pause_sla(other, "t1")
            with pytest.raises(psycopg.errors.QueryCanceled):
                call(host, "record_first_response", "t1")
            other.rollback()
        call(host, "record_first_response", "t1")
        host.conn.commit()
        assert host.facts() == ["started Mon 09:00", "answered Mon 09:00"]

    async def test_a_cancelled_call_leaves_no_trace(self, host: Desk) -> None:
        import asyncio

        async with await psycopg.AsyncConnection.connect(host.dsn) as conn:
            with psycopg.connect(host.dsn) as other, run_with_tenant(host.tenant):
                host.sla.pause_sla(other, "t1")
                sla = SlaService(clock=host.clock)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(sla.record_first_response(conn, "t1"), 0.3)
                assert conn.info.transaction_status == TransactionStatus.INTRANS
                other.rollback()
                assert (await sla.record_first_response(conn, "t1")).response.state == "met"
                await conn.commit()
        assert host.facts() == ["started Mon 09:00", "answered Mon 09:00"]


class TestTenants:
    @pytest.mark.parametrize("verb", [*VERBS, "sync_ticket", "sync_tickets", "delete_ticket", "get_sla_status"])
    async def test_required_before_any_sql(self, shared_dsn: str, verb: str) -> None:
        args: list[Any] = {"sync_ticket": [ticket()], "sync_tickets": [[ticket()]]}.get(verb, ["t1", *VERBS.get(verb, [])])
        with psycopg.connect(shared_dsn) as conn:
            with pytest.raises(TenantRequired):
                getattr(SyncSlaService(), verb)(conn, *args)
            assert conn.info.transaction_status == TransactionStatus.IDLE
        async with await psycopg.AsyncConnection.connect(shared_dsn) as aconn:
            with pytest.raises(TenantRequired):
                await getattr(SlaService(), verb)(aconn, *args)
            assert aconn.info.transaction_status == TransactionStatus.IDLE

    @pytest.mark.parametrize("tenant", BAD_TEXT)
    def test_no_tenant_is_no_tenant(self, tenant: Any) -> None:
        with pytest.raises(TenantRequired), run_with_tenant(tenant):
            pass

    def test_an_unknown_one_is_a_reference(self, desk: Desk) -> None:
        with run_with_tenant("nobody's"), pytest.raises(UnknownReference):
            desk.sla.sync_ticket(desk.conn, ticket())
        with run_with_tenant("nobody's"), pytest.raises(InputError):
            desk.sla.get_sla_status(desk.conn, "t1")

    def test_may_be_nested(self, desk: Desk, other_desk: Desk) -> None:
        with run_with_tenant(desk.tenant):
            desk.sla.sync_ticket(desk.conn, ticket())
            with run_with_tenant(other_desk.tenant):
                desk.sla.sync_ticket(desk.conn, ticket("t2"))
            desk.sla.record_first_response(desk.conn, "t1")
        desk.conn.commit()
        assert (len(desk.facts()), len(other_desk.facts("t2")), desk.facts("t2")) == (2, 1, [])
