"""The demo itself, short: everything that must be told is told, once; and nothing of it stays behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
from rich.console import Console

from slaq.config import Settings
from slaq.demo import run
from slaq.postgres import EmbeddedPostgres


@attrs.define
class Demo:
    """A running ``slaq demo``, what it prints, and every process that came of it."""

    process: subprocess.Popen[str]
    directory: Path
    said: list[str] = attrs.field(factory=list)
    seen: set[psutil.Process] = attrs.field(factory=set)

    @property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.directory / ".slaq")

    def hears(self, words: str) -> None:
        """Wait until it has printed that, and note which processes there are then."""
        self._eventually(lambda: any(words in line for line in self.said), f"{words!r} in {self.said}")
        self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.seen.add(psutil.Process(self.postgres.status().pid))

    def ends(self, number: signal.Signals) -> int:
        """Send a signal as a terminal does, to its process group; the exit code."""
        os.killpg(self.process.pid, number)
        return self.process.wait(60)

    def leaves_nothing(self) -> None:
        self._eventually(lambda: not any(map(_lives, self.seen)), f"these live on: {self.seen}")
        assert not self.postgres.status().running, "it started the server, so it stops it"

    @staticmethod
    def _eventually(condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def demo(directory: Path, *arguments: str) -> Iterator[Demo]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLAQ_", "PG"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "slaq", "demo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=directory, process_group=0, env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    running = Demo(process, directory)
    reader = threading.Thread(target=lambda: running.said.extend(process.stdout), daemon=True)
    reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        process.stdout.close()
        running.postgres.stop()


def names(processes: set[psutil.Process]) -> str:
    """Their command lines."""
    return " ".join(" ".join(process.cmdline()) for process in processes if _lives(process))


@pytest.mark.timeout(180)
def test_it_misses_nothing_tells_nothing_twice_and_leaves_nearly_everything_to_the_timers(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "12", "--json") as running:
        assert running.process.wait(150) == 0, running.said
        running.leaves_nothing()
        summary = json.loads("".join(running.said))
        assert (summary["missed"], summary["duplicates"]) == (0, 0)
        assert summary["tickets"] == 24
        assert summary["delivered"] == summary["expected"] >= 20
        assert all(backend["expected"] >= 5 for backend in summary["backends"].values())
        told = {name: teller["crossings"] for name, teller in summary["told_by"].items()}
        assert sum(told.values()) == summary["expected"]
        assert told["application"] < sum(told.values()) / 2, "most is told by the timers, even on a busy machine"
        assert min(told["temporal"], told["polling"], told["rescue"]) >= 1
        assert set(summary["lateness_ms"]) == {"p50", "p99"}
        assert list((tmp_path / ".slaq" / "mail").glob("*.eml"))


@pytest.mark.timeout(180)
def test_no_process_outlives_it_even_when_it_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.hears("told by")
        there = names(running.seen)
        for program in ("temporal server start-dev", "slaq temporal-worker", "slaq worker", "postgres"):
            assert program in there
        assert running.ends(signal.SIGKILL) == -signal.SIGKILL
        running.leaves_nothing()


@pytest.mark.timeout(180)
def test_it_goes_on_for_ever_until_ctrl_c_which_still_prints_the_summary(tmp_path: Path) -> None:
    with demo(tmp_path, "--forever", "--edition", "community") as running:
        running.hears("told by")
        assert "temporal" not in names(running.seen)
        own = os.getpgid(running.process.pid)
        assert all(os.getpgid(one.pid) != own for one in running.seen), "Ctrl-C must not stop the workers"
        running.ends(signal.SIGINT)
        running.leaves_nothing()
        said = "".join(running.said)
        assert "24 tickets:" in said and "0 missed, 0 told twice" in said
        assert "stepping in" not in said


@pytest.mark.timeout(180)
def test_a_sigterm_while_temporal_is_down_still_misses_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "12") as running:
        running.hears("web UI: http://127.0.0.1:")
        running.hears("Temporal is stopped")
        running.ends(signal.SIGTERM)
        running.leaves_nothing()
        assert "0 missed, 0 told twice" in "".join(running.said)


@pytest.mark.parametrize(("patience", "missed"), [(20.0, 0), (-1.0, 1)])
def test_what_is_told_a_little_later_is_not_missed(
    dsn: str, monkeypatch: pytest.MonkeyPatch, patience: float, missed: int
) -> None:
    found = iter((1, 0))
    monkeypatch.setattr(run, "summarise", lambda *_: {"missed": next(found)})
    monkeypatch.setattr(run, "SETTLING", 0.0)
    monkeypatch.setattr(run, "PATIENCE", patience)
    course = run.Course(app_conninfo=dsn, admin_conninfo=dsn, grant_to=None, settings=Settings(), seconds=10,
                        console=Console(quiet=True), is_live=False)  # fmt: skip
    assert run._settled(course, []) == {"missed": missed}
