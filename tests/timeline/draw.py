"""What the laws are tried on: random schedules, promises and change logs, with many ties among them.

Instants lie on a grid of a quarter of an hour around two changes of the clocks in March 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from hypothesis import strategies as st

from slaq.facts import Fact, FactKind, PauseSource
from slaq.hours import Entry, Holiday, Schedule
from slaq.promise import Escalation, Promise, Threshold

from .build import ALWAYS, OFFICE, week

START = datetime(2024, 3, 8, 8, tzinfo=UTC)  # the Friday before New York's clocks go forward
END = datetime(2024, 4, 30, tzinfo=UTC)  # after whatever the logs can do
QUARTER = timedelta(minutes=15)

SCHEDULES = (
    OFFICE,
    ALWAYS,
    week("09:00-12:00", "13:00-17:30", zone="Europe/Berlin", holidays=["2024-03-11", "2024-03-29"]),
    week("22:00-06:00", zone="America/New_York", days=range(7)),
    week("00:00-24:00", zone="America/New_York", days=range(7), holidays=["2024-03-12"]),
    week("08:15-08:45", "20:00-02:30", zone="Australia/Lord_Howe", days=(0, 2, 3, 5)),
    week("09:00-17:00", zone="Asia/Kathmandu", days=(5, 1)),
)


@st.composite
def any_schedule(draw: st.DrawFn) -> Schedule:
    """One to four stretches of opening hours a week, and perhaps a holiday."""
    entries = []
    for _ in range(draw(st.integers(1, 4))):
        opening, closing = draw(st.lists(st.integers(0, 95), min_size=2, max_size=2, unique=True))
        entries.append(Entry(draw(st.integers(0, 6)), QUARTER * opening, QUARTER * closing))
    zone = draw(st.sampled_from(["UTC", "America/New_York", "Europe/London", "Pacific/Chatham"]))
    return Schedule(zone, entries, [Holiday("2024-03-11")] if draw(st.booleans()) else [])


schedules = st.one_of(st.sampled_from(SCHEDULES), st.sampled_from(SCHEDULES), any_schedule())
promised = st.one_of(
    st.integers(0, 4).map(lambda hours: timedelta(hours=hours)),
    st.integers(1, 16).map(lambda count: count * QUARTER),
    st.integers(1, 40).map(lambda count: count * QUARTER),
    st.integers(1, 10**10).map(lambda number: timedelta(microseconds=number)),
)
targets = st.one_of(promised, promised, promised, promised, st.none())
levels = st.lists(st.sampled_from([25, 50, 70, 90, 100, 110, 150]), max_size=3, unique=True).map(
    lambda percents: tuple(Escalation(level, percent) for level, percent in enumerate(sorted(percents), 1))
)
thresholds = st.lists(st.sampled_from([1, 33, 50, 75, 90, 100, 120, 200]), max_size=4, unique=True).map(
    lambda percents: tuple(map(Threshold, percents))
)


@st.composite
def promises(draw: st.DrawFn, schedule: st.SearchStrategy[Schedule] = schedules) -> Promise:
    """Any promise; one target in five is missing."""
    return Promise(draw(schedule), draw(targets), draw(targets), draw(thresholds), draw(levels))


offsets = st.integers(0, 96).map(lambda quarters: quarters * QUARTER)
gaps = st.one_of(st.just(timedelta()), offsets, st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds)))
PLAIN = (
    *((FactKind.PAUSED, source) for source in PauseSource),
    *((FactKind.RESUMED, source) for source in PauseSource for _ in range(2)),
    (FactKind.ANSWERED, None),
    (FactKind.RESOLVED, None),
    (FactKind.REOPENED, None),
    (FactKind.REOPENED, None),
)


@st.composite
def logs(draw: st.DrawFn, *, late: bool = False, retargets: bool = True, most: int = 12) -> list[Fact]:
    """A change log of one ticket: what happened and when it became known, some things together.

    With ``late`` a fact may become known up to two days after it happened, or lie before the start.
    """
    pool = [draw(promises()) for _ in range(2)]
    pool.append(attrs.evolve(pool[0], response=draw(targets), resolution=draw(targets)))  # much alike
    log = [Fact(FactKind.STARTED, START, START, promise=pool[0])]
    is_fickle = draw(st.booleans())  # retargeted most of the time
    now, change = START, 0
    for _ in range(draw(st.integers(1, most))):
        if draw(st.integers(0, 4)):
            now, change = now + draw(gaps), change + 1
        at = now - draw(offsets) * draw(st.integers(0, 2)) if late and draw(st.booleans()) else now
        if retargets and draw(st.integers(0, 3)) <= 2 * is_fickle:
            log.append(
                Fact(FactKind.RETARGETED, now, now, promise=draw(st.sampled_from([*pool, pool[0]])), change=change)
            )
        else:
            kind, source = draw(st.sampled_from(PLAIN))
            log.append(Fact(kind, at, now, source, change=change))
    return log


def changes(log: Sequence[Fact]) -> list[list[Fact]]:
    """The facts of each change."""
    return [[each for each in log if each.change == number] for number in sorted({each.change for each in log})]
