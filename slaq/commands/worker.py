"""``slaq worker``."""

from __future__ import annotations

import asyncio
import importlib
from typing import cast

import click

from slaq.config import Settings, load_settings
from slaq.jobs.tasks import OnThreshold, log_threshold
from slaq.jobs.worker import run_worker, stop_on_signals
from slaq.wiring import conninfo, log_to_stderr


@click.command()
@click.option(
    "--on-threshold", metavar="MODULE:FUNCTION", help="The application's handler of sla-threshold-reached events."
)
def worker(on_threshold: str | None) -> None:
    """Watch the tickets, deliver messages, run the queue, until SIGTERM or Ctrl-C.

    Any number of workers may run. What runs when a stop is asked for is finished; the exit code is 0
    after a requested stop and 1 after any other.
    """
    settings = load_settings()
    log_to_stderr(settings.log_level)
    asyncio.run(_run(settings, log_threshold if on_threshold is None else _imported(on_threshold)))


async def _run(settings: Settings, on_threshold: OnThreshold) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        await run_worker(settings, conninfo(settings), stop, on_threshold)
    except BaseExceptionGroup as group:  # of the loops, which end together
        raise group.exceptions[0] from None
    if not stop.is_set():
        raise click.ClickException("the worker stopped although nobody asked it to")


def _imported(path: str) -> OnThreshold:
    module, _, name = path.partition(":")
    try:
        handler = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{path!r} cannot be imported: {error}", param_hint="--on-threshold") from error
    if not callable(handler):
        raise click.BadParameter(f"{path!r} is not a function", param_hint="--on-threshold")
    return cast("OnThreshold", handler)
