"""``slaq apply``."""

from __future__ import annotations

import click

from slaq.commands.connecting import connected
from slaq.configuration import Configuration
from slaq.services.apply import apply as apply_configuration


@click.command()
@click.argument("source", metavar="FILE")
@click.option("--tenant", metavar="TENANT", help="Apply it to this tenant; FILE may then be a preset such as itil.")
@click.option("--dry-run", is_flag=True, help="Print the difference; change nothing.")
@click.option("--prune", is_flag=True, help="Remove records that FILE no longer has.")
def apply(source: str, tenant: str | None, dry_run: bool, prune: bool) -> None:
    """Apply schedules, policies, boards and the rest from the TOML file FILE.

    Declarative and repeatable: prints what changes, and does nothing when nothing does. Mistakes are
    reported all at once, and change nothing.
    """
    configuration = Configuration.load(source, tenant=tenant)
    with connected() as (conn, settings):
        difference = apply_configuration(conn, configuration, schema=settings.schema, prune=prune, dry_run=dry_run)
    click.echo(str(difference) if len(difference) else "nothing to change")
