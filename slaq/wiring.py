"""From settings to a database: the one place that decides where Postgres is."""

from __future__ import annotations

import logging
import sys

from slaq.config import Settings

_log = logging.getLogger("slaq")


def conninfo(settings: Settings) -> str:
    """The login for applications and workers; starts the embedded server when no database is configured."""
    if not settings.is_embedded:
        return settings.database_url
    from slaq.postgres import EmbeddedPostgres

    server = EmbeddedPostgres(settings.directory)
    server.start()
    return server.conninfo()


def migration_conninfo(settings: Settings) -> str:
    """The login that may change the schema."""
    if not settings.is_embedded:
        return settings.migrate_url or settings.database_url
    from slaq.postgres import EmbeddedPostgres

    server = EmbeddedPostgres(settings.directory)
    server.start()
    return server.admin_conninfo()


def log_to_stderr(level: str) -> None:
    """Send slaq's logs to stderr, one line each."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("procrastinate").setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
