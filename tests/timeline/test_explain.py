"""The ledger adds up to the target, exactly, and has no gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from slaq.explain import Reason, explain
from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Promise
from slaq.timeline import fold

BERLIN = Schedule(
    "Europe/Berlin",
    tuple(Entry(day, start, end) for day in range(1, 6) for start, end in (("09:00", "12:00"), ("13:00", "17:00"))),
    (Holiday("2026-12-25"),),
)
FRIDAY = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)  # 15:30 in Berlin


def _started(target: timedelta) -> Fact:
    return Fact(FactKind.STARTED, FRIDAY, FRIDAY, promise=Promise(BERLIN, resolution=target, policy_id="p"))


def test_friday_afternoon_to_monday_eleven() -> None:
    clocks = fold([_started(timedelta(hours=3, minutes=30))])
    assert clocks is not None
    lines = explain(clocks.resolution, FRIDAY)
    assert [(line.reason, line.counted) for line in lines] == [
        (Reason.OPEN, timedelta(hours=1, minutes=30)),
        (Reason.CLOSED, timedelta()),
        (Reason.OPEN, timedelta(hours=2)),
    ]
    assert lines[-1].end == clocks.resolution.due_at == datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6000), st.lists(st.integers(0, 20_000), max_size=8, unique=True))
def test_the_sum_is_the_target_whatever_was_paused(minutes: int, toggles: list[int]) -> None:
    facts = [_started(timedelta(minutes=minutes))]
    for position, offset in enumerate(sorted(toggles)):
        kind = FactKind.RESUMED if position % 2 else FactKind.PAUSED
        at = FRIDAY + timedelta(minutes=offset)
        facts.append(Fact(kind, at, at, source=PauseSource.MANUAL))
    clocks = fold(facts)
    assert clocks is not None
    lines = explain(clocks.resolution, FRIDAY + timedelta(days=60))
    assert lines[0].start == FRIDAY
    assert all(before.end == after.start for before, after in pairwise(lines))
    assert lines[-1].total == sum((line.counted for line in lines), timedelta())
    if clocks.resolution.crossed_at(100) is not None:
        assert lines[-1].total == timedelta(minutes=minutes)
        assert lines[-1].end == clocks.resolution.crossed_at(100)
