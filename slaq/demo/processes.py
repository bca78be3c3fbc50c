"""Programs beside the demo: each ends with it, even when it is killed, and leaves a log for what went wrong."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@attrs.define
class Program:
    """One program, which can be started again after it was stopped."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0,  # the Ctrl-C of the terminal is the demo's alone
                preexec_fn=dying_with_us(),  # noqa: PLW1509
            )  # fmt: skip

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was started, and has ended without being asked to."""
        return self._process is not None and self._process.poll() is not None

    def send(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, patience: float = 10.0) -> None:
        """End it; by force when it has not ended after ``patience`` seconds."""
        if self._process is None:
            return
        self.send(number)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        said = self.log.read_text("utf-8", "replace").strip().splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in said[-lines:]) or "    (nothing)"


def dying_with_us() -> Callable[[], None]:
    """What a child does first, so that the kernel kills it when the thread that started it is gone."""
    parent = os.getpid()

    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # killed in the meantime
            os.kill(os.getpid(), signal.SIGKILL)

    return bind
