"""The options that commands share, and the sandbox that they select: one of the cluster, or a local one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sandbox_client.cli.output import Printer
from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.errors import SandboxError
from sandbox_client.sync.sandbox import Sandbox
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The values of the shared options."""

    printer: Printer
    cluster: ClusterOptions

    @contextlib.contextmanager
    def session(self, name: str) -> Iterator[Sandbox]:
        """Connect to a session of the cluster, and show what a suspension kept and lost."""
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
        self, name: str | None, workspace: str | None, store: str | None, egress: Literal["public", "none"]
    ) -> Iterator[Sandbox]:
        """Connect to a session of the cluster if a name is given, else start a local one."""
        if name:
            with self.session(name) as sandbox:
                yield sandbox
            return
        with self.printer.spinner("Starting a local session") as step:
            sandbox = Sandbox.local(
                Path(workspace) if workspace else None, Path(store) if store else None, egress=egress, on_progress=step
            )
        with sandbox:
            yield sandbox


def with_target(function: Callable[..., int | None]) -> Callable[..., None]:
    """Add the shared options to a command and pass them as a Target, its first argument.

    Errors, and the exit code that the command returns, end the program.
    """

    @click.option("-n", "--namespace", help="Namespace. Default: the kubeconfig's.")
    @click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Path to a kubeconfig.")
    @click.option("--context", "kube_context", help="Context in the kubeconfig.")
    @click.option(
        "--direct/--port-forward",
        "in_cluster",
        default=None,
        help="Connect to the address of the session's pod (the default inside a pod), or through the API server.",
    )
    @click.option("--output", type=click.Choice(["text", "json"]), default="text", help="Format of results and errors.")
    @functools.wraps(function)
    def command(
        *args: Any,
        namespace: str | None,
        kubeconfig: str | None,
        kube_context: str | None,
        in_cluster: bool | None,
        output: str,
        **kwargs: Any,
    ) -> None:
        printer = Printer(is_json=output == "json")
        target = Target(printer, ClusterOptions(namespace, kubeconfig, kube_context, in_cluster))
        try:
            with tracing.span(f"sandbox {click.get_current_context().info_name}"):
                code = function(target, *args, **kwargs)
        except SandboxError as error:
            code = printer.fail(error)
        except OSError as error:
            code = printer.fail(SandboxError(str(error), reason=type(error).__name__))
        finally:
            tracing.stop()
        sys.exit(code or 0)

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
        click.option("--session", help="Name of a session in the cluster. Without it, a local session is started."),
    ):
        function = option(function)
    return function
