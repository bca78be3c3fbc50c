"""``slaq jobs``: the queues for an operator, without SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from psycopg import Connection
from rich.markup import escape
from rich.table import Table

from slaq.commands.connecting import connected
from slaq.jobs import JobState, SyncJobQueue
from slaq.jobs.model import CommandResult, FindFilter, InvalidJob, JobInfo, RedriveFilter, Schedule, SendOptions
from slaq.printing import console, echo_json, instant

F = TypeVar("F", bound=Callable[..., Any])
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_limit_option = click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))


@click.group()
def jobs() -> None:
    """Look at the queues and their jobs, and put them right."""


@jobs.command()
@click.argument("queue", required=False)
@_json_option
def stats(queue: str | None, as_json: bool) -> None:
    """How many jobs there are of each queue, or of QUEUE, and since when the oldest waits."""
    with connected() as (conn, settings):
        found = SyncJobQueue(settings.schema).get_queue_stats(conn, queue)
    if as_json:
        echo_json(found)
        return
    table = Table("queue", "ready", "deferred", "active", "completed", "failed", "cancelled", "oldest ready", box=None)
    for one in found:
        counts = (one.ready, one.deferred, one.active, one.completed, one.failed, one.cancelled)
        table.add_row(one.name, *map(str, counts), instant(one.oldest_ready))
    console().print(table if found else "no queues")


@jobs.command("list")
@click.argument("queue", required=False)
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in JobState]))
@click.option("--key", help="Only jobs of this key.")
@click.option("--after", type=int, help="Only ids above this one: the last of the page before.")
@_limit_option
@_json_option
def list_(
    queue: str | None, states: tuple[str, ...], key: str | None, after: int | None, limit: int, as_json: bool
) -> None:
    """List jobs of all queues, or of QUEUE, in order of id."""
    wanted: FindFilter = {}
    if states:
        wanted["states"] = states
    if key is not None:
        wanted["key"] = key
    if after is not None:
        wanted["after"] = after
    with connected() as (conn, settings):
        found = SyncJobQueue(settings.schema).find_jobs(conn, queue, limit, **wanted)
    if as_json:
        echo_json(found)
        return
    table = Table("job", "queue", "state", "runs", "created", "starts", "key", "data", box=None, pad_edge=False)
    for job in found:
        shown = json.dumps(job.data, ensure_ascii=False)
        table.add_row(
            str(job.id), job.queue, job.state, str(job.attempts), instant(job.created_at), instant(job.start_after),
            escape(job.key or "-"), escape(shown if len(shown) <= 60 else f"{shown[:57]}..."),
        )  # fmt: skip
    console().print(table if found else "no jobs")


@jobs.command()
@click.argument("queue")
@click.argument("job", type=int)
@_json_option
def show(queue: str, job: int, as_json: bool) -> None:
    """Show all that is known of JOB of QUEUE."""
    with connected() as (conn, settings):
        found = SyncJobQueue(settings.schema).get_job(conn, queue, job)
    if found is None:
        raise click.ClickException(f"queue {queue!r} has no job {job}")
    if as_json:
        echo_json(found)
    else:
        _print_job(found)


def _print_job(job: JobInfo) -> None:
    out = console()
    out.print(f"[bold]{job.id}[/bold]  {job.queue}  {job.state}  run {job.attempts} of {job.retry_limit + 1}")
    for name in (
        "key",
        "priority",
        "created_at",
        "start_after",
        "started_at",
        "completed_at",
        "data",
        "output",
        "metadata",
    ):
        value = getattr(job, name)
        shown = instant(value) if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False, indent=2)
        out.print(f"{name:<13} {escape(shown)}")


def _told(verb: str, done: CommandResult, *, as_json: bool) -> None:
    if as_json:
        echo_json({"requested": done.requested, "affected": done.affected, "ids": done.ids})
    else:
        click.echo(f"{done.affected} of {done.requested} {verb}")
    if done.affected < done.requested:
        raise click.exceptions.Exit(1)


@jobs.command()
@click.argument("queue")
@click.argument("ids", nargs=-1, required=True, type=int, metavar="JOB...")
@_json_option
def retry(queue: str, ids: tuple[int, ...], as_json: bool) -> None:
    """Give failed jobs of QUEUE one more run."""
    with connected() as (conn, settings):
        done = SyncJobQueue(settings.schema).retry(conn, queue, ids)
    _told("wait for another run", done, as_json=as_json)


@jobs.command()
@click.argument("queue")
@click.argument("ids", nargs=-1, required=True, type=int, metavar="JOB...")
@_json_option
def cancel(queue: str, ids: tuple[int, ...], as_json: bool) -> None:
    """Cancel jobs of QUEUE that wait or run."""
    with connected() as (conn, settings):
        done = SyncJobQueue(settings.schema).cancel(conn, queue, ids)
    _told("cancelled", done, as_json=as_json)


@jobs.command()
@click.argument("queue")
@click.option("--source", help="Only those that came from this queue.")
@click.option("--destination", help="Send them here instead of to where they came from.")
@click.option("--dry-run", is_flag=True, help="Only list what would move.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 100_000))
@_json_option
def redrive(queue: str, source: str | None, destination: str | None, dry_run: bool, limit: int, as_json: bool) -> None:
    """Send the dead letters in QUEUE back to work."""
    wanted: RedriveFilter = {}
    if source is not None:
        wanted["source"] = source
    if destination is not None:
        wanted["destination"] = destination
    with connected() as (conn, settings):
        face = SyncJobQueue(settings.schema)
        if dry_run:
            found = face.preview_redrive(conn, queue, limit, **wanted)
            if as_json:
                echo_json(found)
            else:
                click.echo("\n".join(f"{one.id} to {one.destination}" for one in found) or "no dead letters")
            return
        moved = face.redrive(conn, queue, limit, **wanted)
    if as_json:
        echo_json({"moved": moved})
    else:
        click.echo(f"{moved} sent back")


def _next(face: SyncJobQueue, conn: Connection[Any], schedule: Schedule) -> datetime | None:
    try:
        return face.preview_schedule(conn, schedule.cron, tz=schedule.zone, count=1)[0].astimezone(UTC)
    except InvalidJob:  # written by somebody's SQL
        return None


@jobs.command()
@_json_option
def schedules(as_json: bool) -> None:
    """List schedules, with their next tick."""
    with connected() as (conn, settings):
        face = SyncJobQueue(settings.schema)
        found = face.get_schedules(conn)
        upcoming = [_next(face, conn, one) for one in found]
    if as_json:
        documents = [{"schedule": one, "next": at} for one, at in zip(found, upcoming, strict=True)]
        echo_json(documents)
        return
    table = Table("queue", "key", "cron", "zone", "missed", "last", "next", box=None, pad_edge=False)
    for one, at in zip(found, upcoming, strict=True):
        table.add_row(
            one.queue, escape(one.key or "-"), one.cron, one.zone, one.missed, instant(one.last_tick), instant(at)
        )
    console().print(table if found else "no schedules")


@jobs.command()
@click.argument("queue")
@click.argument("data", required=False)
@click.option("--key")
@click.option("--priority", type=int)
@click.option("--after", type=float, metavar="SECONDS", help="Start it so many seconds from now.")
@_json_option
def send(
    queue: str, data: str | None, key: str | None, priority: int | None, after: float | None, as_json: bool
) -> None:
    """Send a job with DATA, a JSON document, to QUEUE."""
    try:
        payload = None if data is None else json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"{data!r} is not JSON: {error}", param_hint="DATA") from None
    options: SendOptions = {}
    if key is not None:
        options["key"] = key
    if priority is not None:
        options["priority"] = priority
    if after is not None:
        options["start_after"] = after
    with connected() as (conn, settings):
        job = SyncJobQueue(settings.schema).send(conn, queue, payload, **options)
    if as_json:
        echo_json({"id": job})
    else:
        click.echo("refused by the queue's policy" if job is None else f"job {job}")
    if job is None:
        raise click.exceptions.Exit(1)
