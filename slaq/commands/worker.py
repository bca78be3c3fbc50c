"""``slaq worker``."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

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
    handler = log_threshold if on_threshold is None else _handler(on_threshold)
    own_queue = None if app is None else _queue(app)
    settings = load_settings()
    log_to_stderr(settings.log_level)
    where = conninfo(settings)
    jobs = None
    if own_queue is not None:
        jobs = QueueWorker(own_queue, where, settings.schema, list(queues) or None, concurrency, polling)
        jobs.chosen()
    asyncio.run(_run(settings, where, handler, jobs, metrics))
    _leave()


async def _run(
    settings: Settings, where: str, on_threshold: OnThreshold, jobs: QueueWorker | None, port: int | None
) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    try:
        with ExitStack() as stack:
            metrics = None if port is None else Metrics(where, settings.schema)
            if metrics is not None and port is not None:
                try:
                    port = stack.enter_context(serving(metrics, port))
                except OSError as error:
                    raise click.ClickException(f"port {port} cannot be listened on: {error}") from error
                click.echo(f"metrics on port {port}", err=True)
            await run_worker(settings, where, stop, on_threshold, jobs, metrics)
    except BaseExceptionGroup as group:  # of the loops, which end together
        raise _innermost(group) from None
    if not stop.is_set():
        raise click.ClickException("the worker stopped although nobody asked it to")


def _innermost(error: BaseException) -> BaseException:
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _leave() -> None:
    """End although a sync handler outlasted the stop: its thread cannot be ended, and its job is with others now."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _queue(path: str) -> Handlers:
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` would
    queue = _imported(path, "--app")
    if not isinstance(queue, Handlers):
        raise click.BadParameter(f"{path!r} is {queue!r}, not a JobQueue", param_hint="--app")
    return queue


def _handler(path: str) -> OnThreshold:
    handler = _imported(path, "--on-threshold")
    if not callable(handler):
        raise click.BadParameter(f"{path!r} is not a function", param_hint="--on-threshold")
    return cast("OnThreshold", handler)


def _imported(path: str, option: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"{path!r} cannot be imported: {error}", param_hint=option) from error
