"""``slaq temporal-worker`` and ``slaq temporal``: the only commands that need the ``temporal`` extra."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click

from slaq.config import Settings, load_settings
from slaq.wiring import conninfo, log_to_stderr


def _require_temporalio() -> None:
    if importlib.util.find_spec("temporalio") is None:
        raise click.ClickException("temporalio is not installed: pip install 'slaq[temporal]'")


@click.command("temporal-worker")
@click.option(
    "--metrics", metavar="IP:PORT", help="Serve the Temporal SDK's metrics there, for Prometheus, e.g. 0.0.0.0:9464."
)
def temporal_worker(metrics: str | None) -> None:
    """Watch the Enterprise tickets with Temporal, until SIGTERM or Ctrl-C.

    Where Temporal is, is told by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the rest of the SDK's environment or
    profile file; the task queue by TEMPORAL_SLA_TASK_QUEUE. Any number may run. `slaq worker` must run too: it
    delivers what is told, and steps in when Temporal is down.
    """
    _require_temporalio()
    settings = load_settings()
    log_to_stderr(settings.log_level)
    asyncio.run(_run(settings, metrics))
    _leave()


async def _run(settings: Settings, metrics: str | None) -> None:
    from slaq.jobs.worker import stop_on_signals
    from slaq.temporal.client import new_runtime
    from slaq.temporal.worker import run_temporal_worker

    try:
        runtime = new_runtime(metrics)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics") from error
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        await run_temporal_worker(settings, conninfo(settings), stop, runtime)
    except* Exception as group:
        raise group.exceptions[0] from None
    if not stop.is_set():
        raise click.ClickException("the worker stopped although nobody asked it to")


@click.group()
def temporal() -> None:
    """Mend, replace or adopt workflows; each request goes through the outbox, which a temporal-worker drains."""
    _require_temporalio()


_rate = click.option("--rate", default=20.0, show_default=True, type=click.FloatRange(0.1), help="Requests a second.")


@temporal.command()
@_rate
def reconcile(rate: float) -> None:
    """Find open tickets whose workflow is missing or behind, and ask for it again."""
    _mend(rate, lambda reconciler: reconciler.reconcile())


@temporal.command()
@click.option("--all-open", is_flag=True, required=True, help="Every open ticket that Temporal owns.")
@_rate
def restart(all_open: bool, rate: float) -> None:  # noqa: ARG001 - required, so that nobody restarts all by accident
    """Replace the workflow of every open ticket, e.g. after an incompatible upgrade or a database restored from a backup."""
    _mend(rate, lambda reconciler: reconciler.restart_all())


@temporal.command()
@_rate
def adopt(rate: float) -> None:
    """Take the open tickets that are polled over to Temporal, e.g. after an outage or the change of edition."""
    _mend(rate, lambda reconciler: reconciler.adopt())


def _mend(rate: float, act: Callable[[Any], Awaitable[int]]) -> None:
    settings = load_settings()
    log_to_stderr(settings.log_level)
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    requested = asyncio.run(_request(settings, rate, act))
    click.echo(f"asked for {requested} workflows")
    _leave()


async def _request(settings: Settings, rate: float, act: Callable[[Any], Awaitable[int]]) -> int:
    from slaq.store.health import new_worker_id
    from slaq.temporal.client import connect
    from slaq.temporal.reconciler import Reconciler
    from slaq.temporal.worker import open_pool

    def show(seen: int, requested: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{seen} tickets looked at, {requested} asked for", err=True, nl=False)

    try:
        client = await connect(new_worker_id())
    except (RuntimeError, OSError) as error:
        raise click.ClickException(f"Temporal cannot be reached: {error}") from error
    async with open_pool(conninfo(settings), 2) as pool:
        return await act(Reconciler(pool, settings.schema, client, rate, show))


def _leave() -> None:
    """End at once: the SDK's threads may crash a process that takes its interpreter down around them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
