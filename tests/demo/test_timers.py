"""The programs beside the demo: when one does not come up, the demo says why."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from slaq.config import Settings
from slaq.demo import temporal, timers
from slaq.demo.temporal import TemporalServer
from slaq.errors import SlaqError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(directory=tmp_path / ".slaq")


def test_whoever_else_listens_on_its_port_is_not_taken_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(temporal, "_free_port", lambda: other.getsockname()[1])
        with pytest.raises(SlaqError, match="address already in use"):
            TemporalServer(tmp_path / "temporal.db").start()


def test_a_server_that_dies_is_noticed(tmp_path: Path) -> None:
    with TemporalServer(tmp_path / "temporal.db") as server:
        running = timers.Timers([], server)
        running.check()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(SlaqError, match="the Temporal server has ended"):
            while True:
                running.check()


def test_a_worker_that_ends_says_why(dsn: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAQ_SMTP_URL", "nonsense")
    with (
        pytest.raises(SlaqError, match="slaq worker has ended; it said:\n.*SLAQ_SMTP_URL"),
        timers.timers(dsn, settings),
    ):
        pytest.fail("it cannot work")


def test_workers_that_take_too_long_say_how_far_they_are(
    dsn: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "CONNECTING", -1.0)
    with pytest.raises(SlaqError, match="not at work after .*they said:\nslaq worker:\n"), timers.timers(dsn, settings):
        pytest.fail("they had no time")
