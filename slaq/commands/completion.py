"""``slaq completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, e.g. for bash: eval "$(slaq completion bash)"."""
    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.ClickException(f"no completion for {shell}")
    program = click.get_current_context().find_root().command
    click.echo(chosen(program, {}, "slaq", "_SLAQ_COMPLETE").source())
