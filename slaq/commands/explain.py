"""``slaq explain``."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import click
from rich.table import Table

from slaq.commands.connecting import connected, tenant_option
from slaq.explain import Line, Reason
from slaq.explain import explain as ledger_of
from slaq.phase import PhaseClock
from slaq.printing import console, echo_json
from slaq.promise import Phase
from slaq.services.views import ticket_clocks
from slaq.store.database import run


@click.command()
@click.argument("ticket_id")
@tenant_option
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]), help="Only this phase.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def explain(ticket_id: str, tenant: str, phase: str | None, as_json: bool) -> None:
    """Explain why ticket TICKET_ID is due when it is: what counted, what did not, and the sum."""
    with connected() as (conn, settings):
        clocks, now = run(conn, ticket_clocks(tenant, ticket_id, settings.schema))
    wanted = [clock for clock in (clocks.phases if clocks else ()) if phase in (None, clock.phase.value)]
    if as_json:
        echo_json({clock.phase.value: [_seconds(line) for line in ledger_of(clock, now)] for clock in wanted})
        return
    for clock in wanted:
        _print(clock, ledger_of(clock, now), now)
    if not wanted:
        console().print("nothing was ever promised for this ticket")


def _print(clock: PhaseClock, lines: tuple[Line, ...], now: datetime) -> None:
    out = console()
    if clock.target is None:
        out.print(f"[bold]{clock.phase}[/bold]: nothing is promised\n")
        return
    zone = ZoneInfo(clock.schedule.timezone)
    table = Table("from", "to", "", "counts", "sum", box=None, pad_edge=False, header_style="dim")
    for line in lines:
        style = None if line.reason is Reason.OPEN else "dim"
        table.add_row(_local(line.start, zone), _local(line.end, zone), line.reason.value,
                      _span(line.counted), _span(line.total), style=style)  # fmt: skip
    due = clock.due_at if clock.finished_at or clock.paused_at is None else clock.projected(100, now)
    out.print(f"[bold]{clock.phase}[/bold]: {_span(clock.target)} of business time, in {clock.schedule.timezone}")
    out.print(table)
    out.print(f"{_standing(clock, lines, zone)}due {_local(due, zone) if due else '-'}\n")


def _standing(clock: PhaseClock, lines: tuple[Line, ...], zone: ZoneInfo) -> str:
    """Why the sum above stops short of the target, if it does."""
    used = lines[-1].total if lines else timedelta()
    if clock.target is None or used >= clock.target:
        return ""
    left = _span(clock.target - used)
    if clock.finished_at is not None:
        return f"finished {_local(clock.finished_at, zone)} with {left} left; "
    return f"standing still with {left} left; if it resumed now, "


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M:%S %z}"


def _span(duration: timedelta) -> str:
    hours, rest = divmod(int(duration.total_seconds()), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _seconds(line: Line) -> dict[str, object]:
    return {
        "start": line.start,
        "end": line.end,
        "reason": line.reason,
        "counted_seconds": line.counted.total_seconds(),
        "total_seconds": line.total.total_seconds(),
    }
