"""``slaq demo``."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import attrs
import click
from rich.console import Console

from slaq.config import load_settings
from slaq.demo.database import database_of_its_own
from slaq.demo.run import Course, run_demo
from slaq.demo.temporal import missing_for_enterprise
from slaq.postgres import APP

ENOUGH = 20
FEW = 5
_TELLERS = {
    "temporal": "temporal",
    "polling": "polling",
    "rescue": "polling, of Temporal's tickets while it was down or waking",
    "application": "the application's own calls, of what was due before",
}


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
    Temporal's, whose server is stopped midway for ten seconds. Ctrl-C or SIGTERM ends it early, with the summary. Exits
    0 only if at least 20 crossings were expected, five of each kind of ticket, and none was missed or told twice.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    if edition == "enterprise" and (missing := missing_for_enterprise()):
        click.echo(f"{missing}: the demo runs as --edition community", err=True)
        edition = "community"
    settings = attrs.evolve(load_settings(), edition=edition, schema="slaq")
    console = Console(quiet=as_json, highlight=False)
    is_live = not as_json and sys.stdout.isatty()
    common: dict[str, Any] = {
        "settings": settings, "seconds": None if forever else seconds, "console": console, "is_live": is_live,
    }  # fmt: skip
    if database is not None:
        summary = run_demo(Course(app_conninfo=database, admin_conninfo=database, grant_to=None, **common))
    else:
        with database_of_its_own(settings.directory) as (server, name):
            console.print(f"embedded Postgres in {settings.directory}, database {name}", markup=False)
            summary = run_demo(Course(
                app_conninfo=server.conninfo(name), admin_conninfo=server.admin_conninfo(name), grant_to=APP, **common,
            ))  # fmt: skip
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary, console, str(settings.directory / "mail"))
    each = [backend["expected"] for backend in summary["backends"].values() if edition == "enterprise"]
    if summary["expected"] < ENOUGH or min(each, default=FEW) < FEW or summary["missed"] or summary["duplicates"]:
        raise click.exceptions.Exit(1)


def _print(summary: dict[str, Any], console: Console, mail: str) -> None:
    console.print(
        f"\n{summary['tickets']} tickets: {summary['expected']} crossings expected, {summary['delivered']} delivered, "
        f"{summary['missed']} missed, {summary['duplicates']} told twice"
    )
    for name, backend in summary["backends"].items():
        if backend["tickets"]:
            console.print(
                f"  {name}: {backend['tickets']} tickets, {backend['expected']} expected, {backend['delivered']} delivered"
            )
    console.print("told by")
    for name, words in _TELLERS.items():
        teller = summary["told_by"][name]
        if teller["crossings"]:
            late = teller["lateness_ms"]
            lateness = "" if name == "application" else f", p50 {late['p50']} ms late, p99 {late['p99']} ms"
            console.print(f"  {teller['crossings']:3} {words}{lateness}", soft_wrap=True)
    console.print(f"the e-mails are in {mail}", markup=False, soft_wrap=True)
