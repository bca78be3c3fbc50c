"""The way of a delivery, over a real database and a real SMTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import psycopg
import pytest

from slaq.clock import FixedClock
from slaq.delivery.email import DeliveryRefused, Mail
from slaq.delivery.outgoing import (
    Outcome,
    deliver,
    list_deliveries,
    list_deliveries_async,
    resend,
    resend_async,
    retry_in,
)
from slaq.delivery.transport import SmtpTransport, transport_for
from slaq.errors import ConfigurationError, DeliveryFailed, InputError, TenantRequired, UnknownReference
from slaq.store.tenancy import run_with_tenant

from .world import NOON, TENANT


@attrs.define
class Script:
    """A transport that fails as it is told."""

    failures: list[Exception] = attrs.field(factory=list)
    sent: list[Mail] = attrs.field(factory=list)

    def send(self, mail: Mail) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(mail)


@pytest.fixture
def work(pool, settings) -> Callable[..., Any]:
    """Do one try of a delivery's job."""
    return partial(deliver, pool, settings=settings, tenant=TENANT, ticket_id="t1", clock=FixedClock(NOON))


@pytest.fixture
def transport(smtp) -> SmtpTransport:
    return SmtpTransport.from_url(smtp.url)


async def test_a_delivery_is_loaded_built_sent_and_marked(world, work, transport, mailbox):
    delivery = world.deliver_to("ada")
    assert await work(transport, delivery_id=delivery) is Outcome.SENT
    (message,) = mailbox.messages
    assert message["To"] == "Ada Lovelace <ada@example.com>"
    assert message["From"] == "Service Desk <desk@example.com>"
    assert message["Message-ID"] == f"<{delivery}@example.com>"
    assert message["Subject"] == "[INC-7] Response SLA 75 % used: Printer on fire"
    text = message.get_body(("plain",)).get_content()
    for said in ("Wayne & Sons", "High", "Gold", "13:30 Europe/Berlin (2026-11-23 12:30 UTC), 1h 30m of business time left",
                 "you are assigned to this ticket"):  # fmt: skip
        assert said in text
    assert world.row(delivery) == ("sent", 1, None)
    ((event, data),) = world.audit()
    assert event == "email_sent"
    assert (data["delivery_id"], data["user_id"], data["attempts"]) == (delivery, "ada", 1)


async def test_the_escalation_manager_is_told_why(world, work, transport, mailbox):
    delivery = world.deliver_to("cy", template="sla-escalation", kind="escalation", percent=90, level=2)
    assert await work(transport, delivery_id=delivery) is Outcome.SENT
    text = mailbox.messages[0].get_body(("plain",)).get_content()
    assert "Ticket INC-7 is escalated to level 2" in text
    assert "you are the escalation manager of level 2 for the board Support" in text


async def test_a_resolution_crossing_shows_the_dates_of_the_resolution(world, work, transport, mailbox):
    world.execute("UPDATE slaq.tickets SET sla_resolution_due_at = %s", [NOON + timedelta(days=1)])
    assert await work(transport, delivery_id=world.deliver_to("bo", phase="resolution")) is Outcome.SENT
    text = mailbox.messages[0].get_body(("plain",)).get_content()
    assert "Tue 2026-11-24 12:00 Europe/Berlin" in text
    assert "8h of business time left" in text
    assert "you manage the board Support" in text


async def test_a_ticket_without_promise_or_neighbours_is_told_all_the_same(world, work, transport, mailbox):
    world.execute(
        "UPDATE slaq.tickets SET client_id = NULL, board_id = NULL, priority_id = NULL, assigned_to = NULL, url = NULL,"
        " sla_policy_id = NULL, sla_promise_id = NULL, sla_response_due_at = NULL"
    )
    assert await work(transport, delivery_id=world.deliver_to()) is Outcome.SENT
    text = mailbox.messages[0].get_body(("plain",)).get_content()
    assert "No response is promised for this ticket any more." in text
    assert "1970" not in text


async def test_no_transaction_is_open_while_a_mail_is_sent(world, work, transport, mailbox, superuser_dsn):
    seen = []

    def look() -> None:
        with psycopg.connect(superuser_dsn) as conn:
            seen.extend(
                conn.execute(
                    "SELECT state, xact_start, query FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                ).fetchall()
            )

    mailbox.on_data = look
    assert await work(transport, delivery_id=world.deliver_to()) is Outcome.SENT
    assert any("COMMIT" in query for _, _, query in seen), seen
    assert {(state, started) for state, started, _ in seen} == {("idle", None)}


async def test_sending_does_not_block_the_event_loop(world, work):
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    class Slow:
        def send(self, mail: Mail) -> None:
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)

    sending = asyncio.create_task(work(Slow(), delivery_id=world.deliver_to()))
    await asyncio.wait_for(entered.wait(), 10)
    release.set()
    assert await sending is Outcome.SENT


@pytest.mark.parametrize("status", ["sent", "dead", "dropped"])
async def test_a_settled_delivery_is_left_alone(world, work, status):
    delivery, script = world.deliver_to(), Script()
    world.execute("UPDATE slaq.sla_deliveries SET status = %s", [status])
    assert await work(script, delivery_id=delivery) is Outcome.SETTLED
    assert (script.sent, world.row(delivery), world.audit()) == ([], (status, 0, None), [])


async def test_a_delivery_is_sent_once_however_often_its_job_runs(world, work, transport, mailbox):
    delivery = world.deliver_to()
    outcomes = [await work(transport, delivery_id=delivery) for _ in range(3)]
    assert outcomes == [Outcome.SENT, Outcome.SETTLED, Outcome.SETTLED]
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(
    ("meanwhile", "refusals", "status"),
    [
        ("sent", [DeliveryRefused("550 no")], "sent"),
        ("dropped", [DeliveryRefused("550 no")], "dropped"),
        ("dead", [], "sent"),
    ],
)
async def test_of_two_workers_at_once_the_one_that_sent_it_is_right(world, work, meanwhile, refusals, status):
    delivery, script = world.deliver_to(), Script(list(refusals))

    class Other:
        def send(self, mail: Mail) -> None:
            world.execute("UPDATE slaq.sla_deliveries SET status = %s", [meanwhile])
            script.send(mail)

    await work(Other(), delivery_id=delivery)
    assert world.row(delivery)[0] == status
    assert len(world.audit()) == (0 if refusals else 1)


async def test_a_failure_is_raised_for_the_queue_and_the_next_try_is_the_same_message(world, work, transport, mailbox):
    delivery = world.deliver_to()
    mailbox.data = ["451 later"]
    first: list[Any] = []
    mailbox.on_data = lambda: first.append(None)
    with pytest.raises(DeliveryFailed, match="451 later"):
        await work(transport, delivery_id=delivery)
    status, attempts, error = world.row(delivery)
    assert (status, attempts) == ("pending", 1)
    assert "451 later" in error
    assert await work(transport, delivery_id=delivery, attempt=1) is Outcome.SENT
    assert world.row(delivery) == ("sent", 2, None)
    assert [event for event, _ in world.audit()] == ["email_failed", "email_sent"]
    assert mailbox.messages[0]["Message-ID"] == f"<{delivery}@example.com>"
    assert len(first) == 2


async def test_a_mail_whose_mark_was_lost_comes_again_under_the_same_id(world, work, transport, mailbox):
    delivery = world.deliver_to()
    await work(transport, delivery_id=delivery)
    world.execute("UPDATE slaq.sla_deliveries SET status = 'pending'")
    await work(transport, delivery_id=delivery, attempt=1)
    one, two = mailbox.messages
    assert (one["Message-ID"], one["X-Slaq-Event"]) == (two["Message-ID"], two["X-Slaq-Event"])


async def test_the_last_failure_makes_it_dead(world, work):
    delivery = world.deliver_to()
    script = Script([DeliveryFailed(f"no {attempt}") for attempt in range(3)])
    for attempt in range(2):
        with pytest.raises(DeliveryFailed):
            await work(script, delivery_id=delivery, attempt=attempt)
    assert await work(script, delivery_id=delivery, attempt=2) is Outcome.DEAD
    assert world.row(delivery) == ("dead", 3, "no 2")
    assert world.audit()[-1][0] == "email_dead"
    assert world.audit()[-1][1]["error"] == "no 2"


async def test_a_job_that_was_interrupted_often_leaves_nothing_pending(world, work):
    delivery = world.deliver_to()
    assert await work(Script([DeliveryFailed("no")]), delivery_id=delivery, attempt=7) is Outcome.DEAD
    assert world.row(delivery) == ("dead", 1, "no")


@pytest.mark.parametrize("error", [ConfigurationError("wrong"), ZeroDivisionError()])
async def test_a_failure_that_nobody_foresaw_counts_as_one(world, work, error):
    delivery = world.deliver_to()
    with pytest.raises(type(error)):
        await work(Script([error]), delivery_id=delivery)
    assert world.row(delivery)[:2] == ("pending", 1)
    assert await work(Script([error]), delivery_id=delivery, attempt=2) is Outcome.DEAD


async def test_a_refusal_for_good_makes_it_dead_at_once(world, work, transport, mailbox):
    delivery = world.deliver_to()
    mailbox.rcpt = ["550 5.1.1 no such user"]
    assert await work(transport, delivery_id=delivery) is Outcome.DEAD
    status, attempts, error = world.row(delivery)
    assert (status, attempts) == ("dead", 1)
    assert error == "the server refuses ada@example.com: 550 5.1.1 no such user"


async def test_a_recipient_without_an_address_makes_it_dead(world, work):
    world.execute("UPDATE slaq.users SET email = NULL")
    delivery = world.deliver_to()
    assert await work(Script(), delivery_id=delivery) is Outcome.DEAD
    assert world.row(delivery) == ("dead", 1, "user 'ada' has no e-mail address")


async def test_a_hostile_address_reaches_nobody(world, work, transport, mailbox):
    world.execute("UPDATE slaq.users SET email = %s", ["ada@example.com\r\nBcc: evil@example.com"])
    assert await work(transport, delivery_id=world.deliver_to()) is Outcome.DEAD
    assert not mailbox.envelopes


async def test_a_long_error_is_cut(world, work):
    delivery = world.deliver_to()
    assert await work(Script([DeliveryRefused("x" * 9999)]), delivery_id=delivery) is Outcome.DEAD
    assert len(world.row(delivery)[2]) == 500


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE slaq.sla_crossings SET voided_at = noticed_at", "the crossing was voided"),
        ("UPDATE slaq.users SET is_active = false", "the recipient was deactivated"),
        ("DELETE FROM slaq.tickets", "the ticket or the recipient was deleted"),
        ("DELETE FROM slaq.users WHERE user_id = 'ada'", "the ticket or the recipient was deleted"),
    ],
)
async def test_what_concerns_nobody_any_more_is_dropped_with_an_audit_row(world, work, change, why):
    delivery, script = world.deliver_to(), Script()
    world.execute(change)
    assert await work(script, delivery_id=delivery) is Outcome.DROPPED
    ((event, data),) = world.audit()
    assert event == "email_dropped"
    assert (data["delivery_id"], data["error"]) == (delivery, why)
    assert not script.sent
    if not change.startswith("DELETE"):
        assert world.row(delivery) == ("dropped", 0, why)


async def test_another_tenants_delivery_is_not_seen(world, pool, settings):
    delivery, script = world.deliver_to(), Script()
    with psycopg.connect(world.conn.info.dsn) as conn:
        conn.execute("SELECT set_config('slaq.tenant', 'other', true)")
        conn.execute("INSERT INTO slaq.tenants (tenant) VALUES ('other')")
    outcome = await deliver(pool, script, settings, tenant="other", ticket_id="t1", delivery_id=delivery)
    assert outcome is Outcome.DROPPED
    assert world.row(delivery) == ("pending", 0, None)
    assert not script.sent


async def test_without_a_server_the_mail_is_a_file(world, work, settings, tmp_path):
    delivery = world.deliver_to()
    assert await work(transport_for(settings), delivery_id=delivery) is Outcome.SENT
    assert (tmp_path / "mail" / f"{delivery}.eml").is_file()


async def test_dead_ones_are_listed_and_sent_again(world, work, transport, mailbox):
    dead, live = world.deliver_to("ada"), world.deliver_to("bo", percent=90)
    mailbox.rcpt = ["550 no"]
    await work(transport, delivery_id=dead)
    with run_with_tenant(TENANT), world.conn.transaction():
        (listed,) = list_deliveries(world.conn, status="dead")
        assert len(list_deliveries(world.conn)) == 2
        assert len(list_deliveries(world.conn, limit=1)) == 1
        assert resend(world.conn, actor="operator") == 1
        assert resend(world.conn) == 0
    assert (str(listed.delivery_id), listed.ticket_number, listed.address) == (dead, "INC-7", "ada@example.com")
    assert (listed.percent, listed.attempts, listed.settled_at) == (75, 1, NOON)
    assert "550 no" in (listed.last_error or "")
    assert world.jobs() == [{"tenant": TENANT, "ticket_id": "t1", "delivery_id": dead}]
    assert world.row(dead) == ("pending", 0, None)
    assert await work(transport, delivery_id=dead) is Outcome.SENT
    assert [event for event, _ in world.audit()] == ["email_dead", "email_resent", "email_sent"]
    assert world.row(live)[0] == "pending"


@pytest.mark.parametrize("status", ["dead", "dropped", "pending"])
async def test_one_delivery_is_sent_again_by_its_id(world, async_conn, status):
    delivery = world.deliver_to()
    world.execute(
        "UPDATE slaq.sla_deliveries SET status = %s, attempts = 3, last_error = 'x', settled_at = created_at", [status]
    )
    with run_with_tenant(TENANT):
        assert await resend_async(async_conn, delivery) == 1
        await async_conn.commit()
        (listed,) = await list_deliveries_async(async_conn, status="pending")
    assert (listed.attempts, listed.last_error, listed.settled_at) == (0, None, None)
    assert [job["delivery_id"] for job in world.jobs()] == [delivery]


def test_what_cannot_be_sent_again_is_refused(world, app_conn):
    delivery = world.deliver_to()
    world.execute("UPDATE slaq.sla_deliveries SET status = 'sent'")
    with run_with_tenant(TENANT):
        for wrong in (delivery, "00000000-0000-0000-0000-000000000000", "nonsense"):
            with pytest.raises(UnknownReference):
                resend(app_conn, wrong)
        with pytest.raises(InputError, match="status 'failed' is none of pending, sent, dead, dropped"):
            list_deliveries(app_conn, status="failed")
    with run_with_tenant("other"):
        assert list_deliveries(app_conn) == []
        with pytest.raises(UnknownReference):
            resend(app_conn, delivery)
    with pytest.raises(TenantRequired):
        list_deliveries(app_conn)
    app_conn.rollback()
    assert world.jobs() == []


def test_waits_grow_to_two_hours_and_spread():
    waits = [retry_in(attempt).total_seconds() for attempt in range(8)]
    assert waits == [30, 90, 270, 810, 2430, 7200, 7200, 7200]
    assert retry_in(10_000).total_seconds() == 7200
    assert retry_in(0, jitter=1.0).total_seconds() == 37.5
