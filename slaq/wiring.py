"""From settings to a database: the one place that decides where Postgres is."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from slaq.config import Settings

if TYPE_CHECKING:
    from slaq.postgres import EmbeddedPostgres


def conninfo(settings: Settings) -> str:
    """The login for applications and workers; starts the embedded server when no database is configured."""
    if not settings.is_embedded:
        return settings.database_url
    server = _embedded(settings)
    server.start()
    print(f"no database is configured: using the embedded Postgres in {settings.directory}", file=sys.stderr)  # noqa: T201
    return server.conninfo()


def migration_conninfo(settings: Settings) -> str:
    """The login that may change the schema."""
    if not settings.is_embedded:
        return settings.migrate_url or settings.database_url
    return _embedded(settings).start()


def _embedded(settings: Settings) -> EmbeddedPostgres:
    from slaq.postgres import EmbeddedPostgres

    return EmbeddedPostgres(settings.directory)


def log_to_stderr(level: str) -> None:
    """Send slaq's logs to stderr, one line each."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
