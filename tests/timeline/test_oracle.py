"""The clock against an oracle that knows nothing of the code: it lives through every minute."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slaq.facts import Fact, FactKind, PauseSource
from slaq.promise import Escalation, Phase, Promise, Threshold
from slaq.timeline import expected, fold

from .draw import PLAIN, SCHEDULES, START
from .oracle import MINUTE, PhaseLife, headline, open_minutes, told

HORIZON = 6 * 24 * 60
PERCENTS = (0, 5, 50, 75, 100, 110, 250)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, FactKind, PauseSource | None]]:
    """Up to twelve facts at minutes of the first days, often the same minute, each at most once."""
    moments = st.one_of(st.sampled_from([0, 60, 61, 540, 600]), st.integers(0, 4 * 24 * 60))
    drawn = draw(st.lists(st.tuples(moments, st.sampled_from(PLAIN)), max_size=12, unique=True))
    return [(minute, *what) for minute, what in sorted(drawn, key=lambda each: each[0])]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, len(SCHEDULES) - 1), histories(), st.integers(0, 72), st.integers(0, 72))
def test_crossings_are_where_the_minutes_say(
    number: int, history: list[tuple[int, FactKind, PauseSource | None]], response: int, resolution: int
) -> None:
    """Every percentage of both phases, the time used and the finish."""
    targets = {Phase.RESPONSE: 20 * response * MINUTE, Phase.RESOLUTION: 20 * resolution * MINUTE}
    promise = Promise(SCHEDULES[number], *targets.values())
    facts = [Fact(kind, START + minute * MINUTE, START, source) for minute, kind, source in history]
    clocks = fold([Fact(FactKind.STARTED, START, START, promise=promise), *facts])
    assert clocks is not None
    happening: dict[int, list[Fact]] = {}
    for (minute, *_), fact in zip(history, facts, strict=True):
        happening.setdefault(minute, []).append(fact)
    openings = open_minutes(SCHEDULES[number], START, HORIZON)
    for clock in clocks.phases:
        life = PhaseLife.lived(clock.phase, targets[clock.phase], PERCENTS, happening, openings)
        until = START + HORIZON * MINUTE
        assert life.used * MINUTE == clock.used(until)
        assert (None if life.finished_at is None else START + life.finished_at * MINUTE) == clock.finished_at
        found = {percent: clock.crossed_at(percent) for percent in PERCENTS}
        assert {percent: START + minute * MINUTE for percent, minute in life.crossed.items()} == {
            percent: at for percent, at in found.items() if at is not None and at < until
        }


# ── whole lives: changes of promise, facts that become known late ───────────────────────────────

SOON = st.one_of(st.sampled_from([0, 1, 20, 60]), st.integers(0, 600))


@st.composite
def promises(draw: st.DrawFn, schedule: st.SearchStrategy[int]) -> Promise:
    """Targets of whole hours and percentages in steps of five, so that everything falls on a minute."""
    targets = st.one_of(st.none(), *[st.integers(0, 12).map(lambda hours: 60 * hours * MINUTE)] * 4)
    percents = st.lists(st.sampled_from([25, 50, 75, 90, 100, 120]), max_size=3, unique=True)
    levels = sorted(draw(st.lists(st.sampled_from([50, 70, 90, 110, 150]), max_size=3, unique=True)))
    return Promise(
        SCHEDULES[draw(schedule)],
        draw(targets),
        draw(targets),
        tuple(map(Threshold, draw(percents))),
        tuple(Escalation(level, percent) for level, percent in enumerate(levels, 1)),
    )


@st.composite
def lives(draw: st.DrawFn) -> list[Fact]:
    """A change log: up to eight changes of up to three facts, one of them a change of promise at the most."""
    own = st.just(draw(st.integers(0, len(SCHEDULES) - 1)))
    pool = [draw(promises(own)), draw(promises(own)), draw(promises(st.integers(0, len(SCHEDULES) - 1)))]
    log = [Fact(FactKind.STARTED, START, START, promise=pool[0])]
    now = START
    for change in range(1, draw(st.integers(1, 8)) + 1):
        now += draw(SOON) * MINUTE
        if draw(st.integers(0, 2)) == 0:
            log.append(Fact(FactKind.RETARGETED, now, now, promise=draw(st.sampled_from(pool)), change=change))
        for _ in range(draw(st.integers(0, 2))):
            kind, source = draw(st.sampled_from(PLAIN))
            late = draw(SOON) * MINUTE if draw(st.integers(0, 3)) == 0 else 0 * MINUTE
            log.append(Fact(kind, now - late, now, source, change=change))
    return log


@pytest.mark.parametrize("examples", [100, pytest.param(3000, marks=pytest.mark.soak)])
def test_lives_are_told_as_the_minutes_say(examples: int) -> None:
    """Every row with its voiding, and the headline at the end."""

    @settings(
        max_examples=examples, deadline=None, derandomize=examples < 1000, suppress_health_check=list(HealthCheck)
    )
    @given(lives(), SOON)
    def compare(log: list[Fact], later: int) -> None:
        until = log[-1].known_at + later * MINUTE
        rows = sorted(
            (r.crossing.phase, r.crossing.kind, r.crossing.percent, r.crossing.crossed_at, r.is_voided, r.is_silent)
            for r in expected(log, until)
        )
        assert rows == sorted(
            (r.phase, r.kind, r.percent, r.crossed_at, r.is_voided, r.is_silent) for r in told(log, until)
        )
        clocks = fold(log, until)
        assert clocks is not None
        assert clocks.read(until).headline == headline(log, until)

    compare()
