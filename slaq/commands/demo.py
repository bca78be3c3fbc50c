"""``slaq demo``."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import attrs
import click
from rich.console import Console

from slaq.config import load_settings
from slaq.demo.run import Course, run_demo
from slaq.demo.temporal import missing_for_enterprise
from slaq.postgres import EmbeddedPostgres

ENOUGH = 20
FEW = 5


@click.command()
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(10), help="How long it runs.")
@click.option("--forever", is_flag=True, help="Run until Ctrl-C.")
@click.option("--database", metavar="URL", help="Use this database (it is written to) instead of a fresh embedded one.")
@click.option("--edition", type=click.Choice(["enterprise", "community"]), default="enterprise", show_default=True,
              help="Which timers to show: community runs without Temporal.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print only the summary, as one JSON object.")
def demo(seconds: float, forever: bool, database: str | None, edition: str, as_json: bool) -> None:
    """Run a service desk for a minute and count what was told.

    A fresh database on the embedded Postgres, three offices, two dozen tickets, real workers. Half of the tickets are
    Temporal's, whose server is stopped midway for ten seconds. Exits 0 only if at least 20 crossings were expected, five
    of each kind of ticket, and none was missed or told twice.
    """
    if edition == "enterprise" and (missing := missing_for_enterprise()):
        click.echo(f"{missing}: the demo runs as --edition community", err=True)
        edition = "community"
    settings = attrs.evolve(load_settings(), edition=edition, schema="slaq")
    console = Console(quiet=as_json, highlight=False)
    is_live = not as_json and sys.stdout.isatty()
    length = None if forever else seconds
    if database is not None:
        summary = run_demo(Course(app_conninfo=database, admin_conninfo=database, grant_to=None, settings=settings,
                                  seconds=length, console=console, is_live=is_live))  # fmt: skip
    else:
        summary = _on_embedded(settings, length, console, is_live=is_live)
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary, console, str(settings.directory / "mail"))
    each = [backend["expected"] for backend in summary["backends"].values() if edition == "enterprise"]
    if summary["expected"] < ENOUGH or min(each, default=FEW) < FEW or summary["missed"] or summary["duplicates"]:
        raise click.exceptions.Exit(1)


def _on_embedded(settings: Any, seconds: float | None, console: Console, *, is_live: bool) -> dict[str, Any]:
    """Run on a database of its own, dropped afterwards; the server is stopped if it was not running before."""
    server = EmbeddedPostgres(settings.directory)
    was_running = server.status().running
    server.start()
    name = f"demo_{uuid.uuid4().hex[:12]}"
    server.ensure_database(name)
    console.print(f"embedded Postgres in {settings.directory}, database {name}", markup=False)
    try:
        return run_demo(Course(
            app_conninfo=server.conninfo(name), admin_conninfo=server.admin_conninfo(name), grant_to="slaq_app",
            settings=settings, seconds=seconds, console=console, is_live=is_live,
        ))  # fmt: skip
    finally:
        server.drop_database(name)
        if not was_running:
            server.stop()


def _print(summary: dict[str, Any], console: Console, mail: str) -> None:
    lateness = summary["lateness_ms"]
    console.print(
        f"\n{summary['tickets']} tickets: {summary['expected']} crossings expected, {summary['delivered']} delivered, "
        f"{summary['missed']} missed, {summary['duplicates']} told twice"
    )
    console.print(f"lateness of the timers: p50 {lateness['p50']} ms, p99 {lateness['p99']} ms")
    for name, backend in summary["backends"].items():
        if backend["tickets"]:
            console.print(
                f"  {name}: {backend['tickets']} tickets, {backend['expected']} expected, {backend['delivered']} delivered"
            )
    told = ", ".join(f"{by} {count}" for by, count in summary["told_by"].items())
    console.print(f"told by: {told} (a ticket of Temporal's is the poller's while Temporal is down)", markup=False)
    console.print(f"the e-mails are in {mail}", markup=False)
