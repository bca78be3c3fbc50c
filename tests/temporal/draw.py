"""Random lives for all three paths, written as scenarios, so that one that fails can be put among them.

Targets are multiples of twenty minutes and percentages of five, so that everything falls on whole minutes.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from .scenarios import Scenario, name
from .world import START

CALENDARS = (
    {},
    {"hours": "09:00-12:00 13:00-17:00", "holidays": "2035-01-02 01-05"},
    {"hours": "22:00-06:00", "holidays": "2035-01-03"},
    {"zone": "Europe/Berlin", "hours": "00:00-24:00"},
    {"zone": "America/New_York", "hours": "08:00-18:00 17:00-20:00", "days": "sun-sat"},
    {"zone": "Asia/Kathmandu", "hours": "20:00-04:30", "days": "sun-sat"},
    {"always": True, "holidays": "2035-01-02"},
)
CHANGES = (
    {"response": "60m"}, {"response": "300m", "resolution": "900m"}, {"holidays": "2035-01-02"}, {"hours": "12:00-20:00"},
    {"thresholds": "25 60 110"}, {"levels": "1=60 2=80 3=120"}, {"thresholds": "", "levels": ""},
)  # fmt: skip
VERBS = (
    "answer", "resolve", "reopen", "reopen", "pause", "resume", "resume", "hold", "unhold", "unhold", "await", "reply", "reply",
    "close", "high", "low", "none", "high", "plain", "vip", "standard", "release", "cancel", "start", "change",
)  # fmt: skip
LATE = ("answer", "resolve", "reopen", "pause", "resume")
SOON = st.one_of(st.sampled_from([0, 1, 5, 50, 60]), st.integers(0, 240), st.integers(0, 1500))
targets = st.integers(1, 36).map(lambda twenties: f"{20 * twenties}m")
thresholds = st.lists(st.sampled_from([25, 50, 75, 90, 100, 120]), max_size=4, unique=True).map(
    lambda percents: " ".join(map(str, sorted(percents)))
)
levels = st.lists(st.sampled_from([50, 70, 90, 110, 150]), max_size=3, unique=True).map(
    lambda percents: " ".join(f"{level}={percent}" for level, percent in enumerate(sorted(percents), 1))
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """One life of up to ten verbs, some of which become known late, and a while without any."""
    start = START + timedelta(minutes=draw(st.integers(0, 4 * 24 * 60)))
    seen = start + draw(st.sampled_from([0, 0, 0, 30, 500])) * timedelta(minutes=1)
    now, facts = seen, []
    for _ in range(draw(st.integers(0, 10))):
        now += draw(SOON) * timedelta(minutes=1)
        verb = draw(st.sampled_from(VERBS))
        ago = draw(st.sampled_from([0, 0, 0, 10, 200])) if verb in LATE else 0
        of = now - ago * timedelta(minutes=1)
        facts.append(f"{name(now)} {verb}" + (f" of {name(of)}" if of < now else ""))
    if draw(st.integers(0, 15)) == 0:
        facts.append(f"{name(now)} delete")
    return Scenario(
        tenant="",
        name="drawn",
        facts=tuple(facts),
        until=name(now + draw(st.integers(0, 2 * 24 * 60)) * timedelta(minutes=1)),
        start=name(start),
        seen=name(seen),
        closed=name(start + timedelta(minutes=20)) if seen - start > timedelta(hours=1) and draw(st.booleans()) else "",
        has_policy=draw(st.integers(0, 5)) > 0,
        priority=draw(st.sampled_from(["high", "high", "high", "low", "none"])),
        response=draw(st.one_of(targets, targets, st.just(""))),
        resolution=draw(targets),
        thresholds=draw(thresholds),
        levels=draw(levels),
        changed=draw(st.sampled_from(CHANGES)),
        **draw(st.sampled_from(CALENDARS)),
    )
