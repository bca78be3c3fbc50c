"""``slaq delivery list|resend``."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from slaq.commands.connecting import connected, tenant_option
from slaq.delivery.outgoing import list_deliveries
from slaq.delivery.outgoing import resend as resend_deliveries
from slaq.printing import console, echo_json, instant
from slaq.store.tenancy import run_with_tenant


@click.group()
def delivery() -> None:
    """List e-mails, and send dead ones again."""


@delivery.command("list")
@tenant_option
@click.option("--dead", "status", flag_value="dead", help="Only those that were given up.")
@click.option("--pending", "status", flag_value="pending", help="Only those that are still tried.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(tenant: str, status: str | None, limit: int, as_json: bool) -> None:
    """List e-mails, the newest first."""
    with connected() as (conn, settings), run_with_tenant(tenant):
        listed = list_deliveries(conn, status=status, limit=limit, schema=settings.schema)
    if as_json:
        echo_json(listed)
        return
    table = Table("delivery", "created", "ticket", "to", "status", "attempts", "error", box=None, pad_edge=False)
    for one in listed:
        table.add_row(str(one.delivery_id), instant(one.created_at), escape(one.ticket_id), escape(one.user_id),
                      one.status, str(one.attempts), escape(one.last_error or ""))  # fmt: skip
    console().print(table if listed else "no deliveries")


@delivery.command()
@click.argument("delivery_id", required=False)
@tenant_option
@click.option("--dead", is_flag=True, help="All that were given up.")
def resend(delivery_id: str | None, tenant: str, dead: bool) -> None:
    """Send DELIVERY_ID again, or with --dead all that were given up."""
    if dead == (delivery_id is not None):
        raise click.UsageError("name a DELIVERY_ID, or say --dead")
    with connected() as (conn, settings), run_with_tenant(tenant):
        count = resend_deliveries(conn, delivery_id, schema=settings.schema)
    click.echo(f"{count} on their way again")
