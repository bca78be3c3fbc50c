"""``slaq migrate``."""

from __future__ import annotations

import click
import psycopg

from slaq.config import load_settings
from slaq.errors import PostgresUnavailable
from slaq.store import migrate as migrations
from slaq.wiring import migration_conninfo

_EMBEDDED_LOGIN = "slaq_app"


@click.command()
@click.option("--status", is_flag=True, help="Say what is applied and what is not; change nothing.")
@click.option("--dry-run", is_flag=True, help="Print the SQL that would be run; change nothing.")
@click.option("--grant-to", metavar="ROLE", multiple=True, help="Give ROLE the rights of an application.")
@click.option("--grant-worker-to", metavar="ROLE", multiple=True, help="Give ROLE the rights of a worker.")
def migrate(status: bool, dry_run: bool, grant_to: tuple[str, ...], grant_worker_to: tuple[str, ...]) -> None:
    """Bring the database's schema to this release.

    Safe to repeat and to run twice at once. Needs a login that may create roles and schemas
    (SLAQ_MIGRATE_URL, else SLAQ_DATABASE_URL); applications and workers get theirs with the --grant options.
    """
    settings = load_settings()
    try:
        conn = psycopg.connect(migration_conninfo(settings), autocommit=True)
    except psycopg.OperationalError as error:
        raise PostgresUnavailable(f"cannot reach Postgres: {error}") from error
    with conn:
        if status or dry_run:
            _preview(migrations.status(conn, settings.schema), with_sql=dry_run)
            return
        done = migrations.migrate(conn, settings.schema)
        for migration in done:
            click.echo(f"applied {migration.component} {migration.name}")
        for role in grant_to:
            migrations.grant(conn, settings.schema, role)
        for role in (*grant_worker_to, *((_EMBEDDED_LOGIN,) if settings.is_embedded else ())):
            migrations.grant(conn, settings.schema, role, to_worker=True)
        click.echo(f"schema {settings.schema} is up to date" if not done else f"{len(done)} migrations applied")


def _preview(steps: list[migrations.Step], *, with_sql: bool) -> None:
    for step in steps:
        if with_sql:
            if not step.is_applied:
                click.echo(f"-- {step.migration.component} {step.migration.name}\n{step.migration.text}\n")
        else:
            click.echo(
                f"{'applied' if step.is_applied else 'missing'}  {step.migration.component} {step.migration.name}"
            )
