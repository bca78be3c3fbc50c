"""``slaq completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, e.g. for bash: eval "$(slaq completion bash)"."""
    from slaq.cli import slaq

    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(chosen(slaq, {}, "slaq", "_SLAQ_COMPLETE").source())
