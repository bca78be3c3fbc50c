"""The ``slaq`` command: a table of subcommands, each imported only when it is run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import attrs
import click

from slaq import __version__


@attrs.frozen
class Lazy:
    """Where a command is, and the line that ``--help`` shows for it."""

    path: str
    help: str


class LazyGroup(click.Group):
    """A group whose help comes from its table, so that listing commands imports none of them."""

    def __init__(self, *args: Any, table: Mapping[str, Lazy], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        module, name = self._table[cmd_name].path.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self._table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._table)
            raise click.UsageError(f"{error.message}{f' Did you mean {near[0]}?' if near else ''}", ctx) from None


TABLE = {
    "worker": Lazy("slaq.commands.worker:worker", "Watch the tickets, deliver messages, run the queues."),
    "temporal-worker": Lazy(
        "slaq.commands.temporal:temporal_worker", "Run the Enterprise timers: workflows and their outbox."
    ),
    "temporal": Lazy("slaq.commands.temporal:temporal", "Mend, replace or adopt workflows."),
    "migrate": Lazy("slaq.commands.migrate:migrate", "Bring the database's schema to this release."),
    "apply": Lazy("slaq.commands.apply:apply", "Apply schedules, policies and the rest from a TOML file."),
    "ticket": Lazy("slaq.commands.ticket:ticket", "Show a ticket, or list those that need attention."),
    "explain": Lazy("slaq.commands.explain:explain", "Say why a ticket is due when it is due."),
    "jobs": Lazy("slaq.commands.jobs:jobs", "Look at the queues and their jobs, and put them right."),
    "delivery": Lazy("slaq.commands.delivery:delivery", "List e-mails, and send dead ones again."),
    "postgres": Lazy("slaq.commands.postgres:postgres", "Start, stop or look at the embedded Postgres."),
    "demo": Lazy("slaq.commands.demo:demo", "Run a service desk whose tickets cross their thresholds, live."),
    "completion": Lazy("slaq.commands.completion:completion", "Print the completion script of a shell."),
}


@click.group(cls=LazyGroup, table=TABLE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slaq")
def slaq() -> None:
    """SLA timers for helpdesks.

    With no database configured slaq runs its own Postgres in .slaq/; SLAQ_DATABASE_URL or libpq's PG*
    name another. Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


def main() -> None:
    """Run the command line; slaq's own errors become one line and exit code 1."""
    from slaq.errors import HoursError, SlaqError

    try:
        outcome = slaq.main(standalone_mode=False)
        sys.exit(outcome if isinstance(outcome, int) else 0)  # what a command's Exit asked for comes back as a number
    except click.Abort:
        click.echo("aborted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (SlaqError, HoursError) as error:
        click.echo(f"slaq: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
