"""At any hour of any day the demo has enough to show: the desk's tickets cross their thresholds within the minute."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from slaq.configuration import Configuration
from slaq.demo.run import demo_schedules
from slaq.demo.tickets import opening, steps
from slaq.facts import Fact, FactKind
from slaq.promise import Escalation, Promise, Threshold
from slaq.timeline import expected

CONTENT = files("slaq.demo").joinpath("desk.toml").read_text("utf-8")
DESK = tomllib.loads(CONTENT)["tenants"]["demo"]
SCHEDULES = demo_schedules()
MINUTES = {"1m": 1, "2m": 2, "10m": 10, "1h": 60, "4h": 240, "8h": 480, "40h": 2400}
HOURS = [
    datetime(2026, month, day, hour, 17, tzinfo=UTC)
    for month, day in ((1, 1), (11, 22), (11, 25), (10, 3))
    for hour in range(0, 24, 2)
]


def test_the_desk_is_a_valid_configuration() -> None:
    Configuration.parse(CONTENT)


@pytest.mark.parametrize("now", HOURS, ids=str)
def test_enough_crossings_fall_due_while_it_runs(now: datetime) -> None:
    until = now + timedelta(seconds=60)
    ahead = 0
    for ticket in opening(now, SCHEDULES, 60):
        target = DESK["policies"][ticket.board_id]["targets"][ticket.priority_id]
        promise = Promise(
            SCHEDULES["around the clock" if target.get("is_24x7") else ticket.board_id or ""],
            timedelta(minutes=MINUTES[target["response"]]),
            timedelta(minutes=MINUTES[target["resolution"]]),
            tuple(Threshold(percent) for percent in (50, 75, 90, 100)),
            (Escalation(1, 70), Escalation(2, 90), Escalation(3, 110)),
            "p",
        )
        log = [Fact(FactKind.STARTED, ticket.entered_at, now, promise=promise, change=1)]
        ahead += sum(1 for record in expected(log, until) if record.crossing.crossed_at > now)
    assert ahead >= 30


def test_the_script_shows_every_kind_of_change() -> None:
    told = " ".join(step.what for step in steps())
    for wanted in (
        "answered",
        "waits for the client",
        "on hold",
        "becomes critical",
        "resolved",
        "reopened",
        "assigned",
    ):
        assert wanted in told
    assert [step.share for step in steps()] == sorted(step.share for step in steps())
