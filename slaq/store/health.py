"""What worker processes say of themselves, where applications and other workers read it."""

from __future__ import annotations

import os
import socket
import uuid
from typing import Any

import attrs
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from slaq.store.queries import query

INTERVAL = 2.0
"""Seconds between two reports of a worker."""


def new_worker_id() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@attrs.frozen
class Health:
    """The health row of one worker."""

    pool: AsyncConnectionPool[AsyncConnection[Any]]
    schema: str
    kind: str
    edition: str
    worker_id: str = attrs.field(factory=new_worker_id)

    async def report(self, *, is_up: bool, detail: str | None = None) -> bool:
        """Say that this worker lives and whether Temporal answers it; whether any worker vouches for Temporal."""
        async with self.pool.connection() as conn:
            parameters = {"worker": self.worker_id, "kind": self.kind, "edition": self.edition}
            await conn.execute(
                query("temporal", "report_health", self.schema), {**parameters, "is_up": is_up, "detail": detail}
            )
            cursor = await conn.execute(query("temporal", "is_temporal_up", self.schema))
            row = await cursor.fetchone()
        return bool(row and row[0])

    async def retire(self) -> None:
        """Vouch for nothing any more."""
        async with self.pool.connection() as conn:
            await conn.execute(query("temporal", "retire_worker", self.schema), {"worker": self.worker_id})
