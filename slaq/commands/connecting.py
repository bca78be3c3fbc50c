"""The connection of a command, and the tenant it works for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import psycopg

from slaq.config import Settings, load_settings
from slaq.errors import PostgresUnavailable
from slaq.wiring import conninfo

F = TypeVar("F", bound=Callable[..., Any])


def tenant_option(command: F) -> F:
    """``--tenant``, or ``SLAQ_TENANT``."""
    return click.option("--tenant", envvar="SLAQ_TENANT", required=True, show_envvar=True, help="Whose tickets.")(
        command
    )


@contextmanager
def connected() -> Generator[tuple[psycopg.Connection[Any], Settings], None, None]:
    """A connection as the application's login with its settings; committed at the end."""
    settings = load_settings()
    try:
        conn = psycopg.connect(conninfo(settings))
    except psycopg.OperationalError as error:
        raise PostgresUnavailable(f"cannot reach Postgres: {error}") from error
    with conn:
        yield conn, settings
