"""How much of the processors the rest of the machine takes while something is measured, by what /proc counts."""

from __future__ import annotations

import os
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import monotonic, sleep
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_LOOK = 0.25


class Moment(NamedTuple):
    """Seconds: by the clock, and of processor time that went to others since the machine started."""

    clock: float
    others: float


class Noise:
    """``server`` is the process whose descendants are no noise, as this process and its programs are none."""

    def __init__(self, server: int) -> None:
        self._server = server

    def now(self) -> Moment:
        own = sum(sum(getrusage(who)[:2]) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
        return Moment(monotonic(), _busy() - own - self._serving())

    def since(self, start: Moment) -> float:
        """The share of all processors that others have had since ``start``."""
        now = self.now()
        return max(now.others - start.others, 0) / (now.clock - start.clock) / (os.cpu_count() or 1)

    def wait(self, most: float, patience: float) -> None:
        """Wait until others take no more than ``most``, for ``patience`` seconds at the longest."""
        until = monotonic() + patience
        while monotonic() < until:
            start = self.now()
            sleep(_LOOK)
            if self.since(start) <= most:
                return

    def _serving(self) -> float:
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, fields = int(file.parent.name), file.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if pid == self._server:
                ticks += sum(map(int, fields[11:15]))  # with those of its children that have ended
            elif int(fields[1]) == self._server:
                ticks += sum(map(int, fields[11:13]))
        return ticks / _TICK


def _busy() -> float:
    # Processes that are niced make way for the others.
    user, _nice, system, _idle, _wait, *interrupts = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, system, *interrupts))) / _TICK
