"""Random lives for all three paths, written as scenarios, so that one that fails can be put among them.

Targets are multiples of twenty minutes and percentages of five, so that everything falls on whole minutes.
"""

from __future__ import annotations

import random
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
    "pause", "resume", "low", "high", "hold", "unhold", "await", "reply", "answer", "resolve", "reopen", "reopen", "close", "unhold",
    "plain", "vip", "standard", "release", "high", "change", "none", "high", "cancel", "start", "resume", "reply",
)  # fmt: skip
LATE = ("answer", "resolve", "reopen", "pause", "resume")
MINUTE = timedelta(minutes=1)


def live(dice: random.Random) -> Scenario:
    """One life of up to ten verbs, some of which become known late, and a while without any."""
    start = START + dice.randrange(4 * 24 * 60) * MINUTE
    seen = start + dice.choice([0, 0, 0, 30, 500]) * MINUTE
    now, facts = seen, []
    for _ in range(dice.randint(1, 10)):
        now += dice.choice([0, 1, 50, 60, dice.randint(0, 240), dice.randint(0, 240), dice.randint(0, 1500)]) * MINUTE
        verb = dice.choice(VERBS)
        of = now - dice.choice([0, 0, 0, 10, 200]) * MINUTE if verb in LATE else now
        facts.append(f"{name(now)} {verb}" + (f" of {name(of)}" if of < now else ""))
    if dice.random() < 0.05:
        facts.append(f"{name(now)} delete")
    return Scenario(
        tenant="",
        name="drawn",
        facts=tuple(facts),
        until=name(now + dice.randint(60, 3 * 24 * 60) * MINUTE),
        start=name(start),
        seen=name(seen),
        closed=name(start + 20 * MINUTE) if seen - start > 60 * MINUTE and dice.random() < 0.3 else "",
        has_policy=dice.random() < 0.9,
        priority=dice.choice(["high"] * 6 + ["low"] * 2 + ["none"]),
        response=f"{20 * dice.randint(1, 20)}m" if dice.random() < 0.9 else "",
        resolution=f"{20 * dice.randint(1, 60)}m",
        thresholds=" ".join(map(str, sorted(dice.sample([25, 50, 75, 90, 100, 120], dice.randint(0, 4))))),
        levels=" ".join(
            f"{level}={percent}"
            for level, percent in enumerate(sorted(dice.sample([50, 70, 90, 110, 150], dice.randint(0, 3))), 1)
        ),
        changed=dice.choice(CHANGES),
        **dice.choice(CALENDARS),
    )


scenarios = st.randoms(use_true_random=True).map(live)
"""Evenly drawn, since small lives show little."""
