"""The pure fold, the poller and Temporal give the same answers, to the second and row for row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from timeline import oracle

from .scenarios import GONE, Scenario, instant, load, spell
from .ways import Lived, past_temporal, past_the_poller
from .world import World

SCENARIOS = load()
each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@each
def test_an_oracle_that_lives_through_every_minute_agrees(scenario: Scenario) -> None:
    if scenario.is_deleted:
        assert (scenario.crossings, scenario.ends) == ((), GONE)
        return
    log, until = scenario.log(), instant(scenario.until)
    told = [
        spell(row.crossed_at, row.phase, row.kind, row.percent, is_voided=row.is_voided, is_silent=row.is_silent)
        for row in oracle.told(log, until)
    ]
    assert sorted(told) == sorted(scenario.crossings)
    assert oracle.headline(log, until) == scenario.ends


@each
def test_the_pure_fold_agrees(scenario: Scenario) -> None:
    assert scenario.rows() == sorted(scenario.crossings)
    assert scenario.headline() == scenario.ends


async def test_the_poller_agrees(dsn: str) -> None:
    assert differences(await past_the_poller(dsn, SCENARIOS)) == {}


@pytest.mark.timeout(300)
async def test_temporal_agrees_with_the_poller_off(world: World) -> None:
    lived = await past_temporal(world, SCENARIOS)
    assert differences(lived) == {}
    claims = [by for one in lived for by in one.claimed.values()]
    assert set(claims) == {"temporal", "application"}
    assert claims.count("temporal") > 10 * claims.count("application")


def differences(lives: Sequence[Lived]) -> dict[str, tuple[list[str], list[str], str]]:
    """Scenarios that did not go as expected: what was recorded, what was wanted, how it ended."""
    return {
        scenario.name: (lived.rows, sorted(scenario.crossings), lived.ends)
        for scenario, lived in zip(SCENARIOS, lives, strict=True)
        if (lived.rows, lived.ends) != (sorted(scenario.crossings), scenario.ends)
    }
