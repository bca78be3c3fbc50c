"""The live board: each ticket with its clocks as bars, its next crossing and its last message."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs
from psycopg import Connection
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slaq.printing import bar, coloured
from slaq.services.service import SyncSlaService
from slaq.status import SlaStatus
from slaq.store.database import Statement, Steps, run
from slaq.store.queries import query
from slaq.store.tickets import instant

_SHOWN_MESSAGES = 8


@attrs.frozen
class Message:
    """One thing that somebody was told."""

    id: str
    at: datetime
    ticket_id: str
    text: str


@attrs.define
class Board:
    """What is shown; ``refresh`` reads it again."""

    service: SyncSlaService
    schema: str
    tenant: str
    titles: dict[str, str]
    statuses: dict[str, SlaStatus] = attrs.field(factory=dict)
    messages: list[Message] = attrs.field(factory=list)
    events: list[str] = attrs.field(factory=list)

    def refresh(self, conn: Connection[Any]) -> list[Message]:
        """Read all tickets and messages; the messages that are new."""
        with conn.transaction():
            self.statuses = {ticket_id: self.service.get_sla_status(conn, ticket_id) for ticket_id in self.titles}
            messages = run(conn, self._messages())
        known = {message.id for message in self.messages}
        self.messages = messages
        return [message for message in messages if message.id not in known]

    def _messages(self) -> Steps[list[Message]]:
        rows = yield Statement(query("views", "messages", self.schema), {"tenant": self.tenant})
        return [Message(m["id"], instant(m["at"]), m["ticket_id"], m["text"]) for m in json.loads(rows[0][0])]

    def render(self, note: str) -> RenderableType:
        """The board as rich draws it."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("ticket", "title", "status", "response", "resolution", "next crossing", "last message"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        last = {message.ticket_id: message.text for message in self.messages}
        for ticket_id, status in self.statuses.items():
            table.add_row(
                ticket_id,
                escape(self.titles[ticket_id]),
                coloured(status.status),
                bar(status.response.percent, 8),
                bar(status.resolution.percent, 8),
                _next(status),
                escape(last.get(ticket_id, "")),
            )
        lines = [f"{m.at:%H:%M:%S}  {m.text}" for m in self.messages[-_SHOWN_MESSAGES:]]
        return Group(
            table, Text("\n".join(lines), style="dim"), Text("\n".join(self.events[-3:])), Text(note, style="bold")
        )


def _next(status: SlaStatus) -> str:
    crossing = status.next_crossing
    if crossing is None:
        return "-"
    seconds = (crossing.crossed_at - status.at).total_seconds()
    ahead = f"in {seconds:.0f} s" if seconds < 120 else f"{crossing.crossed_at:%d %b %H:%M}"
    return f"{crossing.phase.value} {crossing.percent} % {ahead}"
