"""A ticket with a delivery: as a record, and as rows written by SQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection, sql

from slaq.delivery.email import Delivery
from slaq.hours import Entry, Schedule

TENANT = "acme"
NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
"""Monday 12:00 in Berlin."""
DUE = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
DESK = Schedule("Europe/Berlin", tuple(Entry(day, "09:00", "17:00") for day in range(1, 6)))

PROMISE = {
    "policy_id": "gold",
    "policy_name": "Gold",
    "response_minutes": 240,
    "resolution_minutes": 960,
    "escalations": [[2, 90]],
    "thresholds": [],
    "schedule": {
        "timezone": "Europe/Berlin",
        "entries": [[day, "09:00:00", "17:00:00"] for day in range(1, 6)],
        "holidays": [],
    },
}


def delivery(**fields: Any) -> Delivery:
    """A delivery with any of its fields replaced."""
    usual: dict[str, Any] = {
        "tenant": TENANT,
        "delivery_id": UUID(int=1),
        "schedule": DESK,
        "status": "pending",
        "attempts": 0,
        "crossing_id": UUID(int=2),
        "ticket_id": "t1",
        "user_id": "ada",
        "template": "sla-warning",
        "phase": "response",
        "percent": 75,
        "level": None,
        "is_voided": False,
        "recipient_name": "Ada Lovelace",
        "address": "ada@example.com",
        "is_active": True,
        "ticket_number": "INC-7",
        "title": "Printer on fire",
        "url": "https://desk.example.com/t/7?a=1&b=2",
        "client_name": "Wayne & Sons",
        "priority_name": "High",
        "policy_name": "Gold",
        "board_name": "Support",
        "due_at": DUE,
        "finished_at": None,
        "is_met": None,
        "paused_at": None,
        "is_assignee": True,
        "is_board_manager": False,
        "manager_levels": [],
    }
    return Delivery(**(usual | fields))


class World:
    """A tenant's rows, written and read as the application."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn = conn
        self.insert("tenants")
        for user_id, name in (("ada", "Ada Lovelace"), ("bo", "Bo"), ("cy", "Cy")):
            self.insert("users", user_id=user_id, display_name=name, email=f"{user_id}@example.com")
        self.insert("priorities", priority_id="high", priority_name="High")
        self.insert("sla_policies", sla_policy_id="gold", policy_name="Gold")
        self.insert("clients", client_id="wayne", client_name="Wayne & Sons")
        self.insert("boards", board_id="support", board_name="Support", manager_user_id="bo")
        self.insert("escalation_managers", board_id="support", escalation_level=2, manager_user_id="cy")
        self.insert("sla_promises", promise_id="p1", body=json.dumps(PROMISE))
        self.insert(
            "tickets",
            ticket_id="t1",
            ticket_number="INC-7",
            title="Printer on fire",
            url="https://desk.example.com/t/7",
            client_id="wayne",
            board_id="support",
            priority_id="high",
            assigned_to="ada",
            entered_at=NOON,
            sla_policy_id="gold",
            sla_promise_id="p1",
            sla_started_at=NOON,
            sla_response_due_at=DUE,
        )

    def execute(self, statement: Any, parameters: Any = None) -> list[Any]:
        """Run one statement for the tenant and commit it."""
        with self.conn.transaction():
            self.conn.execute("SELECT set_config('slaq.tenant', %s, true)", [TENANT])
            cursor = self.conn.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, **columns: Any) -> None:
        columns = {"tenant": TENANT, **columns}
        statement = sql.SQL("INSERT INTO slaq.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        )
        self.execute(statement, list(columns.values()))

    def deliver_to(self, user_id: str = "ada", *, template: str = "sla-warning", **crossing: Any) -> str:
        """A crossing of the ticket and a pending delivery of it; its id."""
        crossing_id, delivery_id = uuid4(), uuid4()
        usual = {"phase": "response", "kind": "threshold", "percent": 75, "claimed_by": "polling"}
        instants = dict.fromkeys(("crossed_at", "armed_at", "noticed_at"), NOON)
        self.insert("sla_crossings", ticket_id="t1", crossing_id=crossing_id, **(usual | instants | crossing))
        self.insert(
            "sla_deliveries",
            delivery_id=delivery_id,
            crossing_id=crossing_id,
            ticket_id="t1",
            user_id=user_id,
            template=template,
            created_at=NOON,
        )
        return str(delivery_id)

    def row(self, delivery_id: str) -> tuple[str, int, str | None]:
        """Status, attempts and last error of a delivery."""
        statement = "SELECT status, attempts, last_error FROM slaq.sla_deliveries WHERE delivery_id = %s"
        return self.execute(statement, [delivery_id])[0]

    def audit(self) -> list[tuple[str, dict[str, Any]]]:
        return self.execute("SELECT event_type, event_data FROM slaq.sla_audit_log ORDER BY log_id")

    def jobs(self) -> list[dict[str, Any]]:
        return [
            args
            for (args,) in self.execute(
                "SELECT args -> 'data' FROM slaq.procrastinate_jobs WHERE queue_name = 'sla-send-email' AND status = 'todo' ORDER BY id"
            )
        ]
