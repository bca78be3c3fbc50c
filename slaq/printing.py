"""How times, states and shares are printed, with colour where a terminal is there."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import attrs
import click
from rich.console import Console

from slaq.hours import format_remaining
from slaq.status import PhaseStatus

COLOURS = {
    "on_track": "green",
    "running": "green",
    "met": "green",
    "at_risk": "yellow",
    "paused": "cyan",
    "breached": "red",
    "missed": "red",
    "response_breached": "red",
    "resolution_breached": "red",
    "none": "dim",
}


def console() -> Console:
    """A console on stdout; plain text where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def coloured(state: str) -> str:
    colour = COLOURS.get(state, "white")
    return f"[{colour}]{state}[/{colour}]"


def instant(value: datetime | str | None) -> str:
    """An instant for people, in UTC to the second."""
    if value is None:
        return "-"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def from_now(value: datetime | None) -> str:
    """How far away an instant is, in words."""
    import pendulum

    return "" if value is None else f" ({pendulum.instance(value).diff_for_humans()})"


def parsed_instant(text: str) -> datetime:
    """An instant as people write it, e.g. ``2026-11-23 10:00+01:00``; without a zone it is UTC.

    Raises ``ValueError`` for what is no date and time.
    """
    import pendulum

    moment = pendulum.parse(text, tz="UTC")
    if not isinstance(moment, pendulum.DateTime):
        raise ValueError(f"{text!r} is no date and time")
    return datetime.fromisoformat(moment.isoformat()).astimezone(UTC)


def bar(percent: float | None, width: int = 12) -> str:
    """The used share of a target as a bar."""
    if percent is None:
        return "-"
    filled = min(int(percent * width / 100), width)
    return f"{'█' * filled}{'░' * (width - filled)} {f'{percent:.0f}' if percent < 1000 else '>999'} %"


def remaining(phase: PhaseStatus) -> str:
    """Business time left, or how far it is overdue."""
    return "-" if phase.remaining_minutes is None else format_remaining(phase.remaining_minutes)


def echo_json(value: Any) -> None:
    """Print ``value`` as one JSON document."""
    click.echo(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def as_json(value: Any) -> Any:
    """``value`` with records, instants and enums as JSON has them."""
    if attrs.has(type(value)):
        return {field.name: as_json(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value
