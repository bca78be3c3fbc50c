"""``slaq postgres start|status|stop``."""

from __future__ import annotations

import click

from slaq.config import load_settings
from slaq.postgres import EmbeddedPostgres


@click.group()
def postgres() -> None:
    """Start, stop or look at the embedded Postgres."""


@postgres.command()
def start() -> None:
    """Start the server, unless it runs; print how to connect."""
    click.echo(_server().start())


@postgres.command()
def status() -> None:
    """Say whether the server runs, where and which; exit code 1 when it does not."""
    found = _server().status()
    click.echo(
        f"{'running' if found.running else 'not running'}  Postgres {found.version or '-'}  pid {found.pid or '-'}"
    )
    click.echo(f"data  {found.data_directory}\nlog   {found.log}")
    if not found.running:
        raise click.exceptions.Exit(1)


@postgres.command()
def stop() -> None:
    """Stop the server; every process that uses it loses its connections and waits for it."""
    _server().stop()
    click.echo("stopped")


def _server() -> EmbeddedPostgres:
    return EmbeddedPostgres(load_settings().directory)
