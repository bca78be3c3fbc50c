"""What runs beside the demo and ends with it: slaq's own workers, and the outage of Temporal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import attrs

from slaq.demo.temporal import TemporalServer, die_with_parent


@attrs.define
class Outage:
    """Midway Temporal is stopped for ten seconds (a sixth of a short demo), and started again."""

    server: TemporalServer
    _is_down: bool = False
    _is_over: bool = False

    def take_place(self, elapsed: float, length: float) -> str | None:
        """Do what is to be done by now, in seconds since the start; what happened, in words."""
        began = 0.45 * length
        if not self._is_down and not self._is_over and elapsed >= began:
            self._is_down = True
            self.server.stop()
            return "* Temporal is stopped: the poller steps in"
        if self._is_down and elapsed >= began + min(10.0, length / 6):
            self._is_down, self._is_over = False, True
            self.server.start()
            return "* Temporal is started again"
        return None


@contextmanager
def slaq_process(name: str, environment: Mapping[str, str]) -> Generator[None, None, None]:
    """A real ``slaq`` command beside the demo; it ends with it, even when the demo is killed."""
    command = [sys.executable, "-m", "slaq", name]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509, S603
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
