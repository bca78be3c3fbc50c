"""How a worker minds Temporal: the grace it gives its tickets, what it says, and the rescues it counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import attrs
import psycopg
import pytest
from psycopg import Connection

from slaq.jobs.timer import Timer
from slaq.jobs.watch import Watch
from slaq.store.health import Health
from worker.desk import alarm, configure, crossings, enter, pool_of

LONG, SHORT = timedelta(seconds=60), timedelta(seconds=2)


@attrs.frozen
class Scene:
    """A worker's watch, and a worker with Temporal that vouches for it or does not."""

    watch: Watch
    temporal: Health
    timer: Timer

    async def at(self, second: float, *, is_up: bool) -> timedelta:
        """The grace after a look at that second of the worker's own clock."""
        await self.temporal.report(is_up=is_up)
        await self.watch.look(second)
        return self.timer.grace


@pytest.fixture
async def scene(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    edition = getattr(request, "param", "enterprise")
    async with pool_of(dsn) as pool:
        timer = Timer(pool, "slaq")
        watch = Watch(Health(pool, "slaq", "worker", edition), timer, LONG)
        yield Scene(watch, Health(pool, "slaq", "temporal-worker", "enterprise"), timer)


async def test_the_grace_is_short_while_temporal_is_down_and_until_its_workflows_are_awake_again(scene: Scene) -> None:
    assert await scene.at(0, is_up=True) == LONG
    assert await scene.at(2, is_up=False) == SHORT
    assert await scene.at(100, is_up=False) == SHORT
    assert await scene.at(102, is_up=True) == SHORT, "its workflows need some seconds to wake"
    assert await scene.at(114.9, is_up=True) == SHORT
    assert await scene.at(115, is_up=True) == LONG
    assert await scene.at(117, is_up=False) == SHORT
    assert await scene.at(118, is_up=True) == SHORT, "the second outage counts from its own end"
    assert await scene.at(132, is_up=True) == LONG


async def test_a_worker_that_starts_during_an_outage_is_short_at_once(scene: Scene) -> None:
    assert await scene.at(0, is_up=False) == SHORT


async def test_a_grace_that_is_set_shorter_is_kept(scene: Scene) -> None:
    scene.watch.longest = timedelta(seconds=1)
    assert await scene.at(0, is_up=False) == timedelta(seconds=1)


async def test_each_change_of_state_is_told_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    for second, is_up in enumerate((True, True, False, False, True, True, False)):
        await scene.at(second, is_up=is_up)
    said = [record.getMessage() for record in caplog.records if record.name == "slaq.worker"]
    assert [message.partition(":")[0] for message in said] == [
        "no worker vouches for Temporal",
        "Temporal is back",
        "no worker vouches for Temporal",
    ]


@pytest.mark.parametrize("scene", ["community"], indirect=True)
async def test_a_community_worker_that_finds_a_worker_with_temporal_says_so_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.at(0, is_up=False)
    assert not caplog.records, "nothing is amiss when nobody has Temporal"
    for second in (2, 4):
        await scene.at(second, is_up=True)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "this worker's edition is community" in said[0] and "set SLAQ_EDITION alike" in said[0]


async def test_rescues_are_counted_and_logged(
    app_conn: Connection[Any], scene: Scene, superuser_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    configure(app_conn)
    theirs, soon, own = enter(app_conn, *(timedelta(minutes=30, seconds=late) for late in (61, 30, 61)))
    with psycopg.connect(superuser_dsn, autocommit=True) as superuser:
        superuser.execute("UPDATE slaq.sla_alarms SET backend = 'temporal' WHERE ticket_id <> %s", [own])
    assert (await scene.timer.sweep()).rescued == scene.timer.rescues == 1
    assert {c["ticket_id"] for c in crossings(app_conn)} == {theirs, own}
    assert alarm(app_conn, soon)["failures"] == 0, "within its grace it is left to its workflow"
    await scene.at(0, is_up=False)
    assert (await scene.timer.sweep()).rescued == 1
    assert scene.timer.rescues == 2, "of this process, since it began"
    told = [record.getMessage() for record in caplog.records if record.name == "slaq.timer"]
    assert [ticket_id in line for ticket_id, line in zip((theirs, soon), told, strict=True)] == [True, True]
