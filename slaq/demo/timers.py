"""What watches the tickets: slaq's own workers, and for Enterprise a Temporal server whose outage is yet to come."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import attrs
import psycopg

from slaq.clock import monotonic
from slaq.config import Settings
from slaq.demo.processes import Program
from slaq.demo.temporal import TemporalServer
from slaq.errors import SlaqError
from slaq.store.database import Statement, Steps, run
from slaq.store.queries import query

GRACE = 2
CONNECTING = 120.0  # seconds: a busy machine needs many times the two of an idle one


@attrs.frozen
class Timers:
    """The running programs."""

    workers: Sequence[Program]
    temporal: TemporalServer | None

    def check(self) -> None:
        """Raise ``SlaqError`` with the last words of one that has ended although nobody asked it to."""
        for worker in self.workers:
            if worker.has_ended:
                raise SlaqError(f"{worker.name} has ended; it said:\n{worker.last_words()}")
        if self.temporal is not None:
            self.temporal.is_up()


@contextmanager
def timers(conninfo: str, settings: Settings) -> Generator[Timers]:
    """The programs of the edition, at work; they end with the block, and when this process dies."""
    environment = _environment(conninfo, settings)
    with TemporaryDirectory(prefix="slaq-demo-") as directory:
        if settings.edition == "community":
            with _at_work(["worker"], Path(directory), environment, conninfo, settings) as running:
                yield running
        else:
            with TemporalServer(Path(directory) / "temporal.db", with_ui=True) as temporal:
                environment |= {"TEMPORAL_ADDRESS": temporal.address, "SLAQ_GRACE": str(GRACE)}
                names = ["temporal-worker", "worker"]
                with _at_work(names, Path(directory), environment, conninfo, settings, temporal) as running:
                    yield running


@contextmanager
def _at_work(
    names: Sequence[str], directory: Path, environment: dict[str, str], conninfo: str, settings: Settings,
    temporal: TemporalServer | None = None,
) -> Generator[Timers]:  # fmt: skip
    workers = [
        Program(f"slaq {name}", [sys.executable, "-m", "slaq", name], directory / f"{name}.log", environment)
        for name in names
    ]
    try:
        for worker in workers:
            worker.start()
        running = Timers(workers, temporal)
        with psycopg.connect(conninfo) as conn:
            _wait_until_at_work(running, conn, settings.schema)
        yield running
    finally:
        for worker in workers:
            worker.send(signal.SIGTERM)  # to all of them before any is waited for
        for worker in workers:
            worker.stop(patience=15)


def _wait_until_at_work(running: Timers, conn: psycopg.Connection[Any], schema: str) -> None:
    """Until the workers say so in the database, one with Temporal that it has work from it.

    Tickets that come in sooner would be the poller's for good.
    """
    started = monotonic()
    while True:
        running.check()
        with conn.transaction():
            if run(conn, _at_work_already(running.workers, schema)) == len(running.workers):
                return
        if monotonic() - started > CONNECTING:
            said = "\n".join(f"{worker.name}:\n{worker.last_words()}" for worker in running.workers)
            raise SlaqError(f"the demo's workers are not at work after {CONNECTING:.0f} s; they said:\n{said}")
        sleep(0.1)


def _at_work_already(workers: Sequence[Program], schema: str) -> Steps[int]:
    rows = yield Statement(query("demo", "at_work", schema), {"pids": [worker.pid for worker in workers]})
    count: int = rows[0][0]
    return count


def _environment(conninfo: str, settings: Settings) -> dict[str, str]:
    """What the workers are told."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {
        **inherited,
        "SLAQ_DATABASE_URL": conninfo,
        "SLAQ_SCHEMA": settings.schema,
        "SLAQ_EDITION": settings.edition,
        "SLAQ_DIRECTORY": str(settings.directory),
        "SLAQ_LOG_LEVEL": "INFO",
    }
