"""The clock against an oracle that knows nothing of the code: it lives through every minute."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slaq.facts import Fact, FactKind, PauseSource
from slaq.promise import Phase, Promise
from slaq.timeline import fold

from .draw import PLAIN, SCHEDULES, START
from .oracle import MINUTE, PhaseLife, open_minutes

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
