"""The options of `run`, `exec` and `mcp` that set limits and variables: of a local session, or of the code alone."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import click

from sandbox_client.cli.options import read_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The values of the options.

    Attributes:
        timeout: Seconds, or None for the default.
        memory: Memory of a local session, such as `2Gi`.
        file_size: Largest size of one file of a local session.
        env: Variables of the code.
    """

    timeout: float | None
    memory: str | None
    file_size: str | None
    env: Mapping[str, str]

    def given(self) -> list[str]:
        """Return the options that were given."""
        values = {"--timeout": self.timeout, "--memory": self.memory, "--file-size": self.file_size}
        return [option for option, value in values.items() if value is not None] + ["--env"] * bool(self.env)

    def for_session(self, name: str | None) -> dict[str, Any]:
        """Return the options of the local session that a command starts, or nothing if it names a session.

        Raises:
            UsageError: A limit was given that a session which is named has already.
        """
        if name:
            for option, value in (("--memory", self.memory), ("--file-size", self.file_size)):
                if value is not None:
                    raise click.UsageError(
                        f"{option} is a limit of a local session, and {name} has its own: leave it out"
                    )
            return {}
        given = {
            "execution_timeout": self.timeout,
            "memory_limit": self.memory,
            "file_size_limit": self.file_size,
            "env": dict(self.env) or None,
        }
        return {option: value for option, value in given.items() if value is not None}


def with_limits(
    timeout_help: str, *, memory_default: str = "three quarters of the machine's"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options and pass them as `limits`.

    Args:
        timeout_help: The help of --timeout.
        memory_default: How much memory a session has without --memory.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help=timeout_help)
        @click.option(
            "--memory",
            metavar="SIZE",
            help=f"Memory of a local session, such as 2Gi. Default: {memory_default}.",
        )
        @click.option(
            "--file-size", metavar="SIZE", help="Largest file of a local session, such as 500Mi. Default: 5Gi."
        )
        @click.option(
            "--env", multiple=True, metavar="KEY=VALUE", help="Environment variable of the code. May be repeated."
        )
        @functools.wraps(function)
        def command(
            *args: Any,
            timeout: float | None,
            memory: str | None,
            file_size: str | None,
            env: tuple[str, ...],
            **kwargs: Any,
        ) -> Any:
            limits = Limits(timeout, memory, file_size, dict(read_pair(word, "--env") for word in env))
            return function(*args, limits=limits, **kwargs)

        return command

    return decorate
