"""Connections to Temporal: configured as its own tools are, and never waited for without end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from slaq.demo.temporal import TemporalServer
from slaq.errors import ConfigurationError
from slaq.temporal.client import connect, is_unreachable, serves, task_queue

from .world import World, reach


async def test_a_profile_file_says_where_temporal_is(temporal_server: TemporalServer, tmp_path, monkeypatch) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text(f'[profile.desk]\naddress = "{temporal_server.address}"\nnamespace = "default"\n', "utf-8")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("TEMPORAL_PROFILE", "desk")
    client = await reach()
    assert (client.namespace, client.identity) == ("default", "test")
    monkeypatch.setenv("TEMPORAL_PROFILE", "missing")
    with pytest.raises(ConfigurationError, match="missing"):
        await connect("test")


def test_the_task_queue_can_be_named(monkeypatch) -> None:
    monkeypatch.setenv("TEMPORAL_SLA_TASK_QUEUE", "ours")
    assert task_queue() == "ours"
    monkeypatch.delenv("TEMPORAL_SLA_TASK_QUEUE")
    assert task_queue() == "sla-workflows"


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "never answers"])
async def test_a_server_that_is_not_there_is_given_up_on(monkeypatch, *, is_silent: bool) -> None:
    monkeypatch.setattr("slaq.temporal.client._CONNECT", 0.5)
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        if is_silent:
            hole.listen()
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{hole.getsockname()[1]}")
        async with asyncio.timeout(6) as patience:  # less than the SDK's own
            with pytest.raises((RuntimeError, TimeoutError)) as caught:
                await connect("test")
        assert not patience.expired()
        assert is_unreachable(caught.value)


async def test_a_call_to_a_frozen_server_ends(real_world: World, temporal_server: TemporalServer) -> None:
    temporal_server.freeze()
    async with asyncio.timeout(20) as patience:
        with pytest.raises(Exception) as caught:
            await serves(real_world.client, task_queue(), "test")
    assert not patience.expired()
    assert is_unreachable(caught.value)
    temporal_server.thaw()
    assert not await serves(real_world.client, task_queue(), "test"), "the same client, once it is back"
