"""``slaq worker``."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import click

from slaq.config import Settings, load_settings
from slaq.jobs.handlers import Handlers
from slaq.jobs.metrics import Metrics, serving
from slaq.jobs.own import OnThreshold, log_threshold
from slaq.jobs.runner import QueueWorker
from slaq.jobs.worker import run_worker, stop_on_signals
from slaq.wiring import conninfo, log_to_stderr


@click.command()
@click.option(
    "--on-threshold", metavar="MODULE:FUNCTION", help="The application's handler of sla-threshold-reached events."
)
@click.option("--app", metavar="MODULE:QUEUE", help="The JobQueue whose handlers run here too.")
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Only this queue of the app's; may be repeated.")
@click.option(
    "--concurrency", default=10, show_default=True, type=click.IntRange(1, 1000), help="Jobs of the app at a time."
)
@click.option(
    "--polling", default=1.0, show_default=True, type=click.FloatRange(0.05, 3600), help="Seconds between looks."
)
@click.option("--metrics", metavar="PORT", type=click.IntRange(0, 65535), help="Serve metrics for Prometheus.")
def worker(
    on_threshold: str | None,
    app: str | None,
    queues: tuple[str, ...],
    concurrency: int,
    polling: float,
    metrics: int | None,
) -> None:
    """Watch the tickets, deliver messages, run the queues, until SIGTERM or Ctrl-C.

    Any number of workers may run. What runs when a stop is asked for is finished; the exit code is 0
    after a requested stop and 1 after any other.
    """
    settings = load_settings()
    log_to_stderr(settings.log_level)
    where = conninfo(settings)
    handler = log_threshold if on_threshold is None else _imported(on_threshold)
    jobs = None if app is None else _queue_worker(app, where, settings.schema, list(queues), concurrency, polling)
    asyncio.run(_run(settings, where, handler, jobs, metrics))


async def _run(
    settings: Settings, where: str, on_threshold: OnThreshold, jobs: QueueWorker | None, port: int | None
) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        with ExitStack() as stack:
            metrics = None if port is None else Metrics(where, settings.schema)
            if metrics is not None and port is not None:
                click.echo(f"metrics on port {stack.enter_context(serving(metrics, port))}", err=True)
            await run_worker(settings, where, stop, on_threshold, jobs, metrics)
    except BaseExceptionGroup as group:  # of the loops, which end together
        raise _innermost(group) from None
    if not stop.is_set():
        raise click.ClickException("the worker stopped although nobody asked it to")


def _innermost(error: BaseException) -> BaseException:
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _queue_worker(
    path: str, where: str, schema: str, queues: list[str], concurrency: int, polling: float
) -> QueueWorker:
    module, _, name = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` would
    try:
        app = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{path!r} cannot be imported: {error}", param_hint="--app") from error
    if not isinstance(app, Handlers):
        raise click.BadParameter(f"{path!r} is {app!r}, not a JobQueue", param_hint="--app")
    worker = QueueWorker(app, where, schema, queues or None, concurrency, polling)
    worker.chosen()
    return worker


def _imported(path: str) -> OnThreshold:
    module, _, name = path.partition(":")
    try:
        handler = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{path!r} cannot be imported: {error}", param_hint="--on-threshold") from error
    if not callable(handler):
        raise click.BadParameter(f"{path!r} is not a function", param_hint="--on-threshold")
    return cast("OnThreshold", handler)
