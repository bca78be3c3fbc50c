"""What a watcher of the demo reads: who told what, and once."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from psycopg import Connection
from rich.console import Console

from slaq.clock import FixedClock
from slaq.configuration import Configuration
from slaq.demo.board import Board, Telling
from slaq.demo.run import _desk, demo_schedules
from slaq.demo.tickets import Desk, opening
from slaq.services.apply import apply
from slaq.services.service import SyncSlaService
from slaq.store.tenancy import run_with_tenant


def telling(**given: Any) -> Telling:
    row = {
        "ticket_id": "T-01", "phase": "response", "percent": 75, "kinds": ["threshold"], "late": 2.0801, "claimed_by": "polling",
        "crossed_at": "2026-11-23T08:00:00+00:00", "noticed_at": "2026-11-23T08:00:02+00:00", "backend": "polling", "told": ["ada"],
    }  # fmt: skip
    return Telling.read({**row, **given})


@pytest.mark.parametrize(
    ("claimed_by", "backend", "wanted"),
    [
        ("polling", "polling", "told by polling, 2080 ms late  to ada"),
        ("temporal", "temporal", "told by temporal, 2080 ms late  to ada"),
        ("polling", "temporal", "told by polling stepping in for temporal, 2080 ms late  to ada"),
        ("application", "temporal", "told by application  to ada"),
    ],
)
def test_a_line_says_which_timer_told_it(claimed_by: str, backend: str, wanted: str) -> None:
    line = telling(claimed_by=claimed_by, backend=backend).line()
    assert line == f"08:00:02  T-01  response 75 %: threshold  {wanted}"


def test_each_telling_is_a_line_once_even_when_a_breach_is_taken_back(
    app_conn: Connection[Any], clock: FixedClock
) -> None:
    service, out = SyncSlaService(clock=clock), io.StringIO()
    with run_with_tenant("demo"):
        apply(app_conn, Configuration.parse(_desk()))
        desk = Desk(service, app_conn, {6: opening(clock.now, demo_schedules(), 60)[6]})
        desk.save(6)
        board = Board(service, "slaq", "demo", Console(file=out, width=200), None, {"T-06": "Badge reader"})
        clock.advance(timedelta(minutes=1))
        desk.save(6, title="Badge reader is really dead")
        for _ in range(2):
            board.refresh(app_conn, "")
        lines = out.getvalue().splitlines()
        assert [line.split("  ")[2] for line in lines] == [
            "response 90 %: escalation level 1, threshold",
            "response 100 %: breach, escalation level 2, threshold",
            "response 110 %: escalation level 3",
        ]
        desk.save(6, priority_id="low")
        board.refresh(app_conn, "")
        assert out.getvalue().splitlines() == lines
