"""The live board: each ticket with its clocks as bars, its next crossing, and which timer told the last one."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import attrs
from psycopg import Connection
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slaq.printing import bar, coloured
from slaq.services.service import SyncSlaService
from slaq.status import SlaStatus
from slaq.store.database import Statement, Steps, run
from slaq.store.queries import query
from slaq.store.tickets import instant

_NEWS = 10
_COLUMNS = {
    "ticket": 5, "timer": 8, "title": 4, "status": 10, "response": 10, "resolution": 10, "next crossing": 22, "last told": 24,
}  # fmt: skip
"""With their least widths."""
_COLOURS = {"temporal": "magenta", "polling": "blue", "application": "white"}


@attrs.frozen(kw_only=True)
class Telling:
    """What was crossed on a ticket at one instant, and who told it to whom."""

    ticket_id: str
    phase: str
    percent: int
    kinds: tuple[str, ...]
    crossed_at: datetime
    noticed_at: datetime
    late: float
    """Seconds after it could be told."""
    claimed_by: str
    backend: str
    told: tuple[str, ...]

    @classmethod
    def read(cls, row: dict[str, Any]) -> Telling:
        parsed: dict[str, Any] = {name: instant(row[name]) for name in ("crossed_at", "noticed_at")}
        parsed |= {name: tuple(row[name]) for name in ("kinds", "told")}
        return cls(**{**row, **parsed})

    @property
    def is_rescue(self) -> bool:
        """Whether the poller stepped in for Temporal."""
        return self.claimed_by == "polling" and self.backend == "temporal"

    @property
    def style(self) -> str:
        return "bold yellow" if self.is_rescue else _COLOURS[self.claimed_by]

    def line(self) -> str:
        """All of it."""
        what = f"{self.ticket_id}  {self.phase} {self.percent} %: {', '.join(self.kinds)}"
        rescue = " stepping in for temporal" if self.is_rescue else ""
        to = f"  to {', '.join(self.told)}" if self.told else ""
        return f"{self.noticed_at:%H:%M:%S}  {what}  told by {self.claimed_by}{rescue}{self._late(', ')}{to}"

    def word(self) -> str:
        """The gist."""
        return f"{self.percent} % {self.claimed_by}{self._late(' ')}"

    def _late(self, before: str) -> str:
        return "" if self.claimed_by == "application" else f"{before}{1000 * self.late:.0f} ms late"


@attrs.define
class Board:
    """What is shown: on a terminal a table that is drawn anew, elsewhere a line for each thing that happens."""

    service: SyncSlaService
    schema: str
    tenant: str
    console: Console
    live: Live | None
    titles: dict[str, str] = attrs.field(factory=dict)
    _statuses: dict[str, SlaStatus] = attrs.field(factory=dict, init=False)
    _tellings: list[Telling] = attrs.field(factory=list, init=False)
    _news: list[tuple[str, str]] = attrs.field(factory=list, init=False)

    def say(self, event: str) -> None:
        """Something happened that nobody is told of."""
        self._news.append((f"          {event}", "bold"))
        if self.live is None:
            self.console.print(f"          {event}", markup=False, soft_wrap=True)

    def refresh(self, conn: Connection[Any], note: str) -> None:
        """Read all tickets, and show what is new."""
        with conn.transaction():
            if self.live is not None:
                self._statuses = {name: self.service.get_sla_status(conn, name) for name in self.titles}
            tellings = run(conn, self._read())
        known = set(self._tellings)
        for telling in tellings:
            if telling not in known:
                self._news.append((telling.line(), telling.style))
                if self.live is None:
                    self.console.print(telling.line(), markup=False, soft_wrap=True)
        self._tellings = tellings
        if self.live is not None:
            self.live.update(self._draw(note), refresh=True)

    def _read(self) -> Steps[list[Telling]]:
        yield Statement(query("tickets", "set_tenant", self.schema), {"tenant": self.tenant})
        parameters = {"tenant": self.tenant, "tickets": list(self.titles)}
        rows = yield Statement(query("demo", "tellings", self.schema), parameters)
        return [Telling.read(row) for row in json.loads(rows[0][0])]

    def _draw(self, note: str) -> RenderableType:
        """The board as rich draws it: the news above, since a low terminal cuts off what is below."""
        news = [Text(line, style=style, overflow="ellipsis", no_wrap=True) for line, style in self._news[-_NEWS:]]
        return Group(Text(f"{note}; {self._tally()}", style="bold"), *news, self._table())

    def _tally(self) -> str:
        told = Counter(telling.claimed_by for telling in self._tellings)
        rescues = sum(telling.is_rescue for telling in self._tellings)
        by = [f"{name} {told[name]}" for name in _COLOURS if told[name]]
        return f"told by {', '.join(by) or 'nobody yet'}" + (f" ({rescues} for temporal)" if rescues else "")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name, least in _COLUMNS.items():
            table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=least)
        last = {telling.ticket_id: telling for telling in self._tellings}
        for ticket_id, status in self._statuses.items():
            told = last.get(ticket_id)
            table.add_row(
                ticket_id,
                Text(status.backend, style=_COLOURS[status.backend]),
                escape(self.titles[ticket_id]),
                coloured(status.status),
                bar(status.response.percent, 5),
                bar(status.resolution.percent, 5),
                _next(status),
                Text(told.word(), style=told.style) if told else "",
            )
        return table


def _next(status: SlaStatus) -> str:
    crossing = status.next_crossing
    if crossing is None:
        return "-"
    seconds = (crossing.crossed_at - status.at).total_seconds()
    ahead = f"in {seconds:.0f} s" if seconds < 120 else f"{crossing.crossed_at:%d %b %H:%M}"
    return f"{crossing.phase.value} {crossing.percent} % {ahead}"
