"""The fixtures of delivery: a ticket's rows, the worker's pool, SMTP servers."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.config import Settings

from .smtp import Mailbox, Server
from .world import World


@pytest.fixture
def world(dsn: str) -> Iterator[World]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield World(conn)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[AsyncConnectionPool[AsyncConnection[Any]]]:
    """The worker's pool."""
    made: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        dsn, kwargs={"autocommit": True}, min_size=1, max_size=4, open=False
    )
    async with made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(directory=tmp_path, mail_from="Service Desk <desk@example.com>", mail_attempts=3)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start SMTP servers that are stopped at the end."""
    running: list[Server] = []

    def start(handler: Mailbox, **options: Any) -> Server:
        server = Server(handler, hostname="127.0.0.1", port=0, **options)
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(serve: Callable[..., Server], mailbox: Mailbox) -> Server:
    return serve(mailbox)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server on 127.0.0.1, and for a client that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {cert}"
    try:
        subprocess.run([*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))
