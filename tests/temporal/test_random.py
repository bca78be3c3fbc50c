"""Random lives past the poller and past Temporal: the same facts, the same rows, claimed by the one as by the other."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from itertools import cycle
from pprint import pformat

import attrs
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from timeline import oracle

from slaq.postgres import EmbeddedPostgres
from slaq.timeline import expected

from .draw import scenarios
from .scenarios import Scenario, instant, spell
from .ways import Lived, past_temporal, past_the_poller
from .world import skipping_world

BATCH = 8
TEMPLATE = "template_slaq"


@pytest.mark.parametrize("batches", [4, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_random_lives(server: EmbeddedPostgres, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other batch on a worker without a cache, so that each task replays the whole life so far."""
    monkeypatch.setattr("slaq.temporal.snapshots.LEAD_MS", 0)
    cached = cycle((0, 1000))

    @settings(
        max_examples=batches,
        deadline=None,
        derandomize=batches < 10,
        database=None,
        verbosity=Verbosity.quiet,
        phases=[Phase.generate],  # one life that differs is shown; smaller ones would take minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(scenarios, min_size=BATCH, max_size=BATCH))
    def agree(drawn: list[Scenario]) -> None:
        batch = [attrs.evolve(one, tenant=f"random-{number}") for number, one in enumerate(drawn)]
        polled = asyncio.run(_on_a_database(server, batch, None))
        woken = asyncio.run(_on_a_database(server, batch, next(cached)))
        for scenario, by_poller, by_temporal in zip(batch, polled, woken, strict=True):
            if differences := _differences(scenario, by_poller, by_temporal):
                pytest.fail(f"{scenario}\n{pformat(differences, width=120)}", pytrace=False)

    agree()


async def _on_a_database(server: EmbeddedPostgres, batch: Sequence[Scenario], cached: int | None) -> list[Lived]:
    name = f"random_{uuid.uuid4().hex}"
    server.create_database(name, template=TEMPLATE)
    try:
        if cached is None:
            return await past_the_poller(server.conninfo(name), batch)
        async with skipping_world(server.conninfo(name)) as world, world.worker(max_cached_workflows=cached):
            return await past_temporal(world, batch)
    finally:
        server.drop_database(name)


def _differences(scenario: Scenario, polled: Lived, woken: Lived) -> dict[str, object]:
    """Where the poller, Temporal, the pure fold and the oracle differ about a life."""
    until = instant(scenario.until)
    fold = sorted(
        spell(r.crossing.crossed_at, r.crossing.phase, r.crossing.kind, r.crossing.percent,
              is_voided=r.is_voided, is_silent=r.is_silent)
        for r in expected(polled.facts, until)
    )  # fmt: skip
    lived = [
        spell(row.crossed_at, row.phase, row.kind, row.percent, is_voided=row.is_voided, is_silent=row.is_silent)
        for row in oracle.told(polled.facts, until)
    ]
    claimed = {row: by.replace("polling", "temporal") for row, by in polled.claimed.items()}
    pairs = {
        "facts": (polled.story, woken.story),
        "claims": (claimed, woken.claimed),
        "fold": (fold, woken.rows),
        "oracle": (sorted(lived), woken.rows),
        "ends": (polled.ends, woken.ends),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
