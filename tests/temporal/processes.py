"""slaq's own processes, started and killed as an operator would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from slaq.demo.temporal import die_with_parent


class Process:
    """One ``slaq`` command; its log goes to a file."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._arguments, self._environment, self.log = arguments, environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "slaq", *self._arguments], env=self._environment, stdout=sink, stderr=sink,
                preexec_fn=die_with_parent,
            )  # fmt: skip

    def kill(self) -> None:
        """As the kernel does it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def is_alive(self) -> bool:
        assert self._process is not None
        return self._process.poll() is None

    def wait(self, patience: float = 30) -> int:
        """Until it has ended by itself; the exit code."""
        assert self._process is not None
        return self._process.wait(patience)

    def stop(self, patience: float = 30) -> int:
        """As an operator does it; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def said(self, words: str) -> bool:
        return words in self.log.read_text("utf-8", "replace")


@contextlib.contextmanager
def processes(dsn: str, address: str, directory: Path, *names: str, **settings: str) -> Iterator[dict[str, Process]]:
    """The named commands, running; they end with the test."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SLAQ_", "PG"))},
        "SLAQ_DATABASE_URL": dsn, "SLAQ_EDITION": "enterprise", "SLAQ_DIRECTORY": str(directory), "SLAQ_LOG_LEVEL": "INFO",
        "TEMPORAL_ADDRESS": address, "TEMPORAL_SLA_TASK_QUEUE": os.environ["TEMPORAL_SLA_TASK_QUEUE"],
        "PYTHONPATH": str(Path(__file__).parents[2]), **settings,
    }  # fmt: skip
    running = {name: Process(name.split(), environment, directory / f"{name}.log") for name in names}
    try:
        yield running
    finally:
        for process in running.values():
            process.stop(patience=10)
