"""``slaq ticket show|list``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from slaq.commands.connecting import connected, tenant_option
from slaq.printing import bar, coloured, console, echo_json, from_now, instant, parsed_instant, remaining
from slaq.services.views import ListedTicket, Listing, TicketPage, list_tickets, ticket_page
from slaq.status import PhaseStatus
from slaq.store.database import run


def _instant_option(_: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else parsed_instant(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from error


@click.group()
def ticket() -> None:
    """Show a ticket, or list those that need attention."""


@ticket.command()
@click.argument("ticket_id")
@tenant_option
@click.option(
    "--at", metavar="INSTANT", callback=_instant_option, help="How it stood or will stand then (UTC unless said)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(ticket_id: str, tenant: str, at: datetime | None, as_json: bool) -> None:
    """Show how ticket TICKET_ID stands, and all that happened to it."""
    with connected() as (conn, settings):
        page = run(conn, ticket_page(tenant, ticket_id, settings.schema, at))
    if as_json:
        echo_json({"status": page.status, **page.document})
    else:
        _print_page(page)


@ticket.command("list")
@tenant_option
@click.option("--at-risk", "listing", flag_value=Listing.AT_RISK.value, help="Running, 75 % or more of a target used.")
@click.option("--breached", "listing", flag_value=Listing.BREACHED.value, help="A promise was missed or is overdue.")
@click.option("--paused", "listing", flag_value=Listing.PAUSED.value, help="The clocks stand still.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(tenant: str, listing: str | None, limit: int, as_json: bool) -> None:
    """List open tickets, or with an option those that need attention, the most urgent first."""
    with connected() as (conn, settings):
        chosen = Listing(listing) if listing else Listing.OPEN
        listed = run(conn, list_tickets(tenant, chosen, limit, settings.schema))
    if as_json:
        echo_json(listed)
    else:
        _print_list(listed)


def _print_list(listed: list[ListedTicket]) -> None:
    table = Table("ticket", "status", "response", "left", "resolution", "left", "title", box=None, pad_edge=False)
    for line in listed:
        status = line.status
        table.add_row(
            escape(line.ticket_number),
            coloured(status.status),
            bar(status.response.percent),
            remaining(status.response),
            bar(status.resolution.percent),
            remaining(status.resolution),
            escape(line.title),
        )
    console().print(table if listed else "no tickets")


def _print_page(page: TicketPage) -> None:
    out, status, ticket_row = console(), page.status, page.document["ticket"]
    out.print(f"[bold]{escape(ticket_row['ticket_number'])}[/bold]  {escape(ticket_row['title'])}")
    out.print(f"status      {coloured(status.status)}{_pause(page)}")
    for label, key in (("policy", "policy_name"), ("priority", "priority_name"), ("board", "board_name"),
                       ("client", "client_name"), ("assignee", "assignee")):  # fmt: skip
        if ticket_row.get(key):
            out.print(f"{label:<11} {escape(ticket_row[key])}")
    out.print(f"started     {instant(status.started_at)}   backend {status.backend}")
    table = Table("", "state", "used", "left", "due", "finished", box=None, pad_edge=False)
    for name, phase in (("response", status.response), ("resolution", status.resolution)):
        table.add_row(name, *_phase_cells(phase))
    out.print(table)
    if status.next_crossing is not None:
        upcoming = status.next_crossing
        out.print(
            f"next        {upcoming.phase} {upcoming.kind} {upcoming.percent} % at {instant(upcoming.crossed_at)}{from_now(upcoming.crossed_at)}"
        )
    _section(
        "crossings", page, ("crossed_at", "phase", "kind", "percent", "level", "noticed_at", "claimed_by", "voided_at")
    )
    _section("notifications", page, ("created_at", "user_id", "type", "title"))
    _section("deliveries", page, ("created_at", "user_id", "template", "status", "attempts", "last_error"))
    _section("facts", page, ("at", "kind", "source", "known_at", "actor"))
    _section("audit", page, ("created_at", "event_type", "triggered_by"))


def _pause(page: TicketPage) -> str:
    status = page.status
    if not status.is_paused:
        return ""
    return f" since {instant(status.paused_at)} ({status.pause_reason.value if status.pause_reason else ''})"


def _phase_cells(phase: PhaseStatus) -> tuple[str, ...]:
    return (
        coloured(phase.state),
        bar(phase.percent),
        remaining(phase),
        instant(phase.due_at),
        instant(phase.finished_at),
    )


def _section(name: str, page: TicketPage, columns: tuple[str, ...]) -> None:
    rows: list[dict[str, Any]] = page.document[name]
    if not rows:
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    out = console()
    out.print(f"\n[bold]{name}[/bold]")
    out.print(table)


def _cell(column: str, value: Any) -> str:
    if column == "at" or column.endswith("_at"):
        return instant(value)
    return "-" if value is None else escape(str(value))
