"""A group of commands that are imported when they are used, so that help and completion are fast."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from sandbox_client.cli.shell.last_resort import ReaderGoneError, ended_in_order

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """A group whose commands are named by their modules.

    Args:
        table: For each command its place, such as `sandbox_client.cli.exec:exec_`, and its line of help.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        """Import a command. Returns None if there is none of that name."""
        if cmd_name not in self.table:
            return None
        module, _, name = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for completion

        options = click.Command.shell_complete(self, ctx, incomplete)
        names = [(name, text) for name, (_, text) in self.table.items() if name.startswith(incomplete)]
        return [*(CompletionItem(name, help=text) for name, text in names), *options]

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. A broken pipe is kept from click, which would exit with 1, as if the code had failed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line and end the program. No traceback reaches the user."""
        inner: Any = super().main
        if not options.pop("standalone_mode", True):
            return inner(*arguments, standalone_mode=False, **options)
        return ended_in_order(lambda: inner(*arguments, standalone_mode=False, **options))
