"""Any sequence of verbs, with the timer passing at any moment: the rows are what the facts ask for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from services.build import TENANT, Desk, configure, instant, ticket
from slaq import run_with_tenant
from slaq.errors import InvalidInstant
from slaq.services.crossing import settlement_document
from slaq.store.database import run
from slaq.store.tickets import read_ticket
from slaq.timeline import settle

# never none: what is told at an instant stays told, though a stop at that very instant would have prevented it
MINUTES = st.one_of(st.sampled_from([1, 5, 15, 30, 60]), st.integers(1, 300))
VERBS: list[tuple[str, list[Any], dict[str, Any]]] = [
    *(("sync", [], {"status_id": status}) for status in ("new", "waiting", "closed")),
    *(("sync", [], {"response_state": state}) for state in (None, "awaiting_client")),
    *(("sync", [], {"priority_id": priority}) for priority in ("high", "normal", "none")),
    ("sync", [], {"client_id": "vip"}), ("sync", [], {}), ("timer", [], {}), ("timer", [], {}),
    ("record_first_response", [], {}), ("record_resolution", [], {}), ("reopen", [], {}), ("pause_sla", [], {}), ("resume_sla", [], {}),
    ("cancel_sla", [], {}), ("start_sla_for_ticket", [], {}), ("handle_policy_change", ["silver"], {}), ("handle_policy_change", [None], {}),
    ("release_policy", [], {}), ("handle_status_change", ["closed"], {}), ("handle_status_change", ["new"], {}),
    ("handle_priority_change", ["normal"], {}), ("handle_priority_change", ["high"], {}),
]  # fmt: skip
STEPS = st.lists(st.tuples(MINUTES, st.sampled_from(VERBS), st.sampled_from([0, 0, 0, 10, 45, 200])), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def conn(shared_dsn: str) -> Iterator[Connection[Any]]:
    tenant = f"{TENANT}-{uuid.uuid4().hex}"
    with psycopg.connect(shared_dsn) as opened:
        configure(opened, tenant)
        opened.execute("SET synchronous_commit = off")
        opened.commit()
        opened.slaq_tenant = tenant  # type: ignore[attr-defined]
        yield opened


def pass_by(desk: Desk, ticket_id: str) -> None:
    """What a timer does with a ticket at the clock's instant."""
    with run_with_tenant(desk.tenant):
        state, _ = run(desk.conn, read_ticket(desk.tenant, ticket_id, "slaq"))
        if state.row is not None and state.due_at is not None and state.due_at <= desk.clock.now:
            settlement = settle(state.facts, state.records, desk.clock.now)
            document = settlement_document(state, settlement, desk.clock.now, "polling")
            version = desk.alarm(ticket_id)["version"]
            assert desk.sql("SELECT slaq.settle_ticket(%s, %s, %s, %s::jsonb) AS o", desk.tenant, ticket_id, version, document) == [{"o": "settled"}]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], database=None)
@given(STEPS, st.booleans())
def test_any_sequence(conn: Connection[Any], steps: list[Any], is_punctual: bool) -> None:
    """With a timer that passes in time, or whenever it likes."""
    desk = Desk(conn, tenant=conn.slaq_tenant)  # type: ignore[attr-defined]
    ticket_id = uuid.uuid4().hex
    fields: dict[str, Any] = {}
    desk.sync_ticket(ticket(ticket_id))
    for minutes, (verb, args, options), late in steps:
        until = desk.clock.now + timedelta(minutes=minutes)
        if is_punctual:
            _let_the_timer_pass(desk, ticket_id, until)
        desk.clock.now = until
        # what is learned late was told meanwhile, if a timer passed in time
        at = max(until - timedelta(minutes=late), instant("Mon 08:30")) if late and is_punctual else None
        try:
            if verb == "timer":
                pass_by(desk, ticket_id)
            elif verb == "sync":
                fields |= options
                desk.sync_ticket(ticket(ticket_id, status_changed_at=at, response_state_changed_at=at, **fields))
            else:
                getattr(desk, verb)(ticket_id, *args, at=at, **options)
        except InvalidInstant:
            desk.conn.rollback()
    desk.clock.now += timedelta(days=30)
    pass_by(desk, ticket_id)
    desk.assert_as_expected(ticket_id)
    _check_columns(desk, ticket_id)


def _let_the_timer_pass(desk: Desk, ticket_id: str, until: datetime) -> None:
    while (due := desk.state(ticket_id).due_at) is not None and due < until:
        desk.clock.now = max(due, desk.clock.now)
        pass_by(desk, ticket_id)


def _check_columns(desk: Desk, ticket_id: str) -> None:
    """The columns are the result of the clocks, and nobody was told twice."""
    row, status = desk.row(ticket_id), desk.get_sla_status(ticket_id)
    assert row["sla_response_met"] == {"met": True, "missed": False, "breached": False}.get(status.response.state)
    assert row["sla_resolution_met"] == {"met": True, "missed": False, "breached": False}.get(status.resolution.state)
    assert (row["sla_paused_at"] is not None) == status.is_paused
    assert row["escalation_level"] == status.escalation_level
    assert row["sla_policy_id"] == status.policy_id
    assert row["sla_total_pause_minutes"] == status.total_pause_minutes
    assert desk.alarm(ticket_id)["due_at"] is None or status.next_crossing is not None
    told = desk.sql(
        "SELECT crossing_id, user_id FROM slaq.sla_notifications WHERE ticket_id = %s GROUP BY 1, 2 HAVING count(*) > 1", ticket_id
    )
    assert told == []
