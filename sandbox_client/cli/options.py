"""The options that commands share, and the sandbox that they select: one of the cluster, or a local one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from sandbox_client.cli.output import FORMATS, Printer
from sandbox_client.cli.shell.completion import complete_sessions
from sandbox_client.cli.shell.last_resort import describe_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_client.sync.sandbox import Sandbox

LOCAL_NOTE: Final = "a local session: the code runs as your user on this machine, without isolation\n"
_CHOICES: Final = {
    "namespace": "--namespace",
    "kubeconfig": "--kubeconfig",
    "kube_context": "--context",
    "in_cluster": "--direct",
}
_HINTED: Final = ("NO_KUBECONFIG", "NOT_FOUND")
"""Reasons why a session is not found that may be one on this machine."""


@dataclasses.dataclass(frozen=True, slots=True)
class SharedOptions:
    """The values of the shared options, None if they were not given."""

    namespace: str | None = None
    kubeconfig: str | None = None
    kube_context: str | None = None
    in_cluster: bool | None = None
    output: str | None = None
    all_namespaces: bool = False

    def given_after(self, own: dict[str, Any]) -> SharedOptions:
        """Return these options with those that were given after the command, which win."""
        return dataclasses.replace(self, **{name: value for name, value in own.items() if value is not None})

    @property
    def cluster_words(self) -> list[str]:
        """The options given that select a cluster or a namespace."""
        return [
            *(word for name, word in _CHOICES.items() if getattr(self, name) is not None),
            *(["--all-namespaces"] if self.all_namespaces else []),
        ]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The values of the shared options.

    Attributes:
        is_everywhere: Whether -A selects all namespaces.
    """

    printer: Printer
    cluster: ClusterOptions
    is_everywhere: bool = False

    @contextlib.contextmanager
    def session(self, name: str) -> Iterator[Sandbox]:
        """Connect to a session of the cluster, and show what a suspension kept and lost."""
        from sandbox_client.sync.sandbox import Sandbox  # noqa: PLC0415 - slow to import, and help does not need it

        with self.printer.spinner(f"Connecting to {name}") as step:
            sandbox = Sandbox.connect(
                name, **dataclasses.asdict(self.cluster), on_phase=lambda phase: step(f"Resuming {name}: {phase}")
            )
        with sandbox:
            if shown := sandbox.notice:
                self.printer.write_stderr(f"{shown}\n")
            try:
                yield sandbox
            finally:
                if sandbox.notice != shown:
                    self.printer.write_stderr(f"{sandbox.notice}\n")

    @contextlib.contextmanager
    def session_or_local(
        self,
        name: str | None,
        workspace: str | None,
        store: str | None,
        egress: Literal["public", "none"],
        **local: Any,
    ) -> Iterator[Sandbox]:
        """Connect to a session of the cluster if a name is given, else start a local one.

        Args:
            name: The session's name, or None.
            workspace: Working folder of a local session.
            store: Folder for the pushed files of a local session.
            egress: Network access of a local session.
            **local: Further options of a local session, as in LocalOptions.
        """
        from sandbox_client.sync.sandbox import Sandbox  # noqa: PLC0415 - slow to import, and help does not need it

        if name:
            with self.session(name) as sandbox:
                yield sandbox
            return
        with self.printer.spinner("Starting a local session") as step:
            sandbox = Sandbox.local(
                Path(workspace) if workspace else None,
                Path(store) if store else None,
                egress=egress,
                on_progress=step,
                **local,
            )
        with sandbox:
            self.printer.write_stderr(LOCAL_NOTE)
            yield sandbox


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has, before and after its name. `SharedOptions` has their values."""
    for option in (
        click.option("-o", "--output", type=click.Choice(FORMATS), help="Format of results and errors. Default: text."),
        click.option(
            "--direct/--port-forward",
            "in_cluster",
            default=None,
            help="Connect to the address of the session's pod (the default inside a pod), or through the API server.",
        ),
        click.option("--context", "kube_context", help="Context in the kubeconfig."),
        click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Path to a kubeconfig."),
        click.option("-n", "--namespace", help="Namespace. Default: the kubeconfig's."),
    ):
        function = option(function)
    return function


def with_target(function: Callable[..., int | None]) -> Callable[..., None]:
    """Add the shared options to a command and pass them as a Target, its first argument.

    Errors, and the exit code that the command returns, end the program.
    """

    @shared_options
    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        from sandbox_client.cluster.api import ClusterOptions  # noqa: PLC0415 - slow to import, and help needs none
        from sandbox_client.errors import SandboxError  # noqa: PLC0415 - same
        from sandbox_proto import tracing  # noqa: PLC0415 - same

        context = click.get_current_context()
        before = context.find_object(SharedOptions) or SharedOptions()
        options = before.given_after({name: kwargs.pop(name) for name in (*_CHOICES, "output")})
        _check_place(context, options, kwargs)
        printer = Printer(options.output or "text")
        cluster = ClusterOptions(options.namespace, options.kubeconfig, options.kube_context, options.in_cluster)
        target = Target(printer, cluster, is_everywhere=bool(options.all_namespaces or kwargs.get("all_namespaces")))
        try:
            tracing.start_where_configured("sandbox-cli")
            with tracing.span(f"sandbox {context.info_name}"):
                code = function(target, *args, **kwargs)
        except SandboxError as error:
            code = printer.fail(error)
            if error.reason in _HINTED:
                from sandbox_client.local.named.reports import describe_mistake  # noqa: PLC0415 - only after an error

                if hint := describe_mistake(str(kwargs.get("session") or kwargs.get("name"))):
                    printer.write_stderr(f"{hint}\n")
        except OSError as error:
            if error.filename is None:
                # Standard output is gone or full: the last resort ends the program.
                raise
            code = printer.fail(SandboxError(describe_os_error(error), reason=type(error).__name__))
        finally:
            tracing.stop()
        sys.exit(code or 0)

    return command


def _check_place(context: click.Context, options: SharedOptions, arguments: dict[str, Any]) -> None:
    """Refuse options of the cluster for a command that would run on this machine, and -A where it means nothing."""
    if "all_namespaces" in arguments:
        arguments["all_namespaces"] = arguments["all_namespaces"] or options.all_namespaces
        if arguments["all_namespaces"] and options.namespace:
            raise click.UsageError("give either --namespace or --all-namespaces")
        return
    if "session" in arguments and not arguments["session"] and options.cluster_words:
        words = " and ".join(options.cluster_words)
        raise click.UsageError(
            f"no session is named, so `{context.info_name}` would work on this machine, where {words} means nothing. "
            f"Name a session of the cluster with --session, or leave out {words}"
        )
    named = str(arguments.get("session") or arguments.get("name") or "")
    if named.startswith("local/") and options.cluster_words:
        words = " and ".join(options.cluster_words)
        raise click.UsageError(f"{named} is a session on this machine, where {words} means nothing: leave it out")
    if options.all_namespaces:
        raise click.UsageError(f"--all-namespaces is for `get`, `list` and `top`, not for `{context.info_name}`")


SESSION_OPTION: Final = click.option(
    "-s", "--session", required=True, metavar="NAME", shell_complete=complete_sessions, help="Name of the session."
)
"""The option of a command that works inside a session."""


def with_session_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the name of the session that a command is about: an argument, or --session as for the other commands."""

    @click.argument("name", required=False, metavar="NAME", shell_complete=complete_sessions)
    @click.option("-s", "--session", "named", metavar="NAME", hidden=True, shell_complete=complete_sessions)
    @functools.wraps(function)
    def command(*args: Any, name: str | None, named: str | None, **kwargs: Any) -> Any:
        if bool(name) == bool(named):
            raise click.UsageError("name one session" if not name else f"two sessions are named: {name} and {named}")
        return function(*args, name=name or named, **kwargs)

    return command


def with_session_and_paths(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the name of a session, and paths in it. The first word is the name, unless --session gives it."""

    @click.argument("words", metavar="[NAME] [PATHS]...", nargs=-1, shell_complete=complete_sessions)
    @click.option(
        "-s", "--session", "named", metavar="NAME", shell_complete=complete_sessions, help="Name of the session."
    )
    @functools.wraps(function)
    def command(*args: Any, words: tuple[str, ...], named: str | None, **kwargs: Any) -> Any:
        name, paths = (named, words) if named else (next(iter(words), ""), words[1:])
        if not name:
            program = click.get_current_context().info_name
            raise click.UsageError(f"name the session: `sandbox {program} NAME [PATHS]`")
        return function(*args, name=name, paths=paths, **kwargs)

    return command


def with_session_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose between a session of the cluster and a local one."""
    for option in (
        click.option(
            "--egress",
            type=click.Choice(["public", "none"]),
            default="public",
            help="Network access of a local session.",
        ),
        click.option(
            "--store", type=click.Path(file_okay=False), help="Folder for the pushed files of a local session."
        ),
        click.option("--workspace", type=click.Path(file_okay=False), help="Working folder of a local session."),
        click.option(
            "-s",
            "--session",
            metavar="NAME",
            shell_complete=complete_sessions,
            help="Name of a session. Without it, a local session is started.",
        ),
    ):
        function = option(function)
    return function


def read_pair(word: str, option: str) -> tuple[str, str]:
    """Split the value KEY=VALUE of an option.

    Raises:
        BadParameter: It has no key, or no `=`.
    """
    key, separator, value = word.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{word!r} is not KEY=VALUE", param_hint=option)
    return key, value


def check_words(name: str, words: Sequence[str]) -> None:
    """Refuse words that are not UTF-8. A session takes only that.

    Args:
        name: What the words are called in the error.
        words: The words of the command line.

    Raises:
        UsageError: One of them is not UTF-8.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            message = f"{name}: {word!a} is not text in UTF-8, which is all that a session takes: write it in UTF-8"
            raise click.UsageError(message) from error
