"""What can happen to an installation, one misfortune after the other, and which was in force when."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import attrs
import psutil

from slaq.clock import utc_now
from slaq.demo.temporal import TemporalServer
from slaq.postgres import EmbeddedPostgres

from .processes import Process

AFTERMATH = timedelta(seconds=20)
"""For so long what was broken is still finding its feet: a killed worker's tasks time out after five seconds, its
activities after ten, and then all is due at once."""


@attrs.frozen
class Misfortune:
    """Something that was out of order for a while."""

    name: str
    began: datetime
    ended: datetime


@attrs.define
class Installation:
    """Two workers, a Temporal server and a Postgres, all of which can be killed, and some frozen."""

    temporal: TemporalServer
    postgres: EmbeddedPostgres
    processes: Mapping[str, Process]
    happened: list[Misfortune] = attrs.field(factory=list)
    _suffering: set[str] = attrs.field(factory=set)

    @property
    def fates(self) -> dict[str, tuple[str, float, Callable[[], AbstractAsyncContextManager[None]]]]:
        """Each misfortune: whom it befalls, for how many seconds, and how it is done and undone."""
        return {
            "temporal worker dead": ("temporal-worker", 2, lambda: self._killed("temporal-worker")),
            "poller dead": ("worker", 2, lambda: self._killed("worker")),
            "Temporal dead": ("temporal", 4, self._temporal_dead),
            "Temporal frozen": ("temporal", 3, self._temporal_frozen),
            "Postgres down": ("postgres", 2, self._postgres_down),
            "Postgres frozen": ("postgres", 2, self._postgres_frozen),
        }

    async def suffer(self, dice: random.Random, seconds: float, calm: float) -> None:
        """Every misfortune, then any of them, with about ``calm`` seconds in between; several may do so at once."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        order = dice.sample(list(self.fates), len(self.fates))
        while order or loop.time() < end:
            name = order.pop(0) if order else dice.choice(list(self.fates))
            victim, lasts, befall = self.fates[name]
            if victim in self._suffering:
                order.append(name)
            else:
                self._suffering.add(victim)
                began = utc_now()
                async with befall():
                    await asyncio.sleep(lasts * dice.uniform(0.7, 1.3))
                self.happened.append(Misfortune(name, began, utc_now()))
                self._suffering.remove(victim)
            await asyncio.sleep(calm * dice.uniform(0.5, 1.5))

    def cause(self, at: datetime) -> str:
        """What was out of order at an instant, or had just been."""
        in_force = sorted({m.name for m in self.happened if m.began <= at <= m.ended})
        if in_force:
            return " + ".join(in_force)
        just_over = [m for m in self.happened if m.ended < at < m.ended + AFTERMATH]
        return f"after {max(just_over, key=lambda m: m.ended).name}" if just_over else "none"

    @asynccontextmanager
    async def _killed(self, name: str) -> AsyncIterator[None]:
        assert self.processes[name].is_alive, "nothing else ends a worker"
        self.processes[name].kill()
        try:
            yield
        finally:
            self.processes[name].start()

    @asynccontextmanager
    async def _temporal_dead(self) -> AsyncIterator[None]:
        self.temporal.stop(signal.SIGKILL)
        try:
            yield
        finally:
            await asyncio.to_thread(self.temporal.start)

    @asynccontextmanager
    async def _temporal_frozen(self) -> AsyncIterator[None]:
        self.temporal.freeze()
        try:
            yield
        finally:
            self.temporal.thaw()

    @asynccontextmanager
    async def _postgres_down(self) -> AsyncIterator[None]:
        """Without a checkpoint or a word to anybody, so that it recovers from its log."""
        os.kill(self._postmaster(), signal.SIGQUIT)
        try:
            yield
        finally:
            await asyncio.to_thread(self.postgres.start)

    @asynccontextmanager
    async def _postgres_frozen(self) -> AsyncIterator[None]:
        """With all its processes."""
        process = psutil.Process(self._postmaster())
        frozen = [*process.children(recursive=True), process]
        _signal_all(frozen, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(frozen, signal.SIGCONT)

    def _postmaster(self) -> int:
        pid = self.postgres.status().pid
        assert pid, "Postgres runs"
        return pid


def _signal_all(processes: list[psutil.Process], number: int) -> None:
    for one in processes:
        try:
            one.send_signal(number)
        except psutil.NoSuchProcess:
            continue
