"""`sandbox ps`, `sandbox attach` and `sandbox kill`: background processes of a session."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from sandbox_client.cli.exec import report
from sandbox_client.cli.options import Target, with_target
from sandbox_client.cli.terminal import relay
from sandbox_client.errors import InvalidArgument, NotFound
from sandbox_client.models.results import Status

if TYPE_CHECKING:
    from sandbox_client.models.process_info import ProcessInfo
    from sandbox_client.sync.sandbox import Sandbox

_SESSION = click.option("--session", required=True, help="Name of a session in the cluster.")
_SHORT = 12
_COMMAND = 60


@click.command(epilog="\b\nExample:\n  sandbox ps --session my-session")
@_SESSION
@with_target
def ps(target: Target, session: str) -> None:
    """List background processes: those that run, and those that ended lately."""
    with target.session(session) as sandbox:
        processes = sandbox.processes.list()
    if target.terminal.is_json:
        target.terminal.show([dataclasses.asdict(process) for process in processes])
        return
    target.terminal.say(f"{'ID':{_SHORT}}  {'PID':>7}  {'STARTED (UTC)':16}  {'STATUS':20}  COMMAND")
    for process in processes:
        started = process.started_at.strftime("%Y-%m-%d %H:%M") if process.started_at else ""
        command = " ".join(process.command.split())
        command = command if len(command) <= _COMMAND else f"{command[: _COMMAND - 3]}..."
        shown = "".join(character if character.isprintable() else "?" for character in command)
        target.terminal.say(
            f"{process.id[:_SHORT]:{_SHORT}}  {process.pid:>7}  {started:16}  {_status(process):20}  {shown}"
        )


@click.command(
    epilog="""\b
Examples:
  sandbox attach --session my-session 3f2a
  sandbox attach --session my-session 3f2a --offset 1048576 > rest.log"""
)
@click.argument("process_id", metavar="ID")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Bytes of output to skip.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on, its end included.")
@_SESSION
@with_target
def attach(
    target: Target,
    process_id: str,
    offset: int,
    interactive: bool,  # noqa: FBT001 - click passes it by name
    session: str,
) -> int:
    """Show the output of process ID (or the beginning of an id) from its start, and exit as it does.

    Ctrl-C interrupts it; in a terminal all keys go to it but Ctrl-], which leaves it running.
    """
    with target.session(session) as sandbox:
        info = _find(sandbox, process_id)
        process = sandbox.processes.get(info.id)
        shows = not target.terminal.is_json
        is_raw = shows and info.has_terminal and info.running and sys.stdin.isatty() and sys.stdout.isatty()
        result = relay(process, is_raw=is_raw, passes_input=is_raw or interactive, offset=offset, shows=shows)
    return 0 if result is None else report(target, result)


@click.command(
    epilog="""\b
Examples:
  sandbox kill --session my-session 3f2a
  sandbox kill --session my-session --signal TERM 3f2a 77b0"""
)
@click.argument("process_ids", metavar="ID...", nargs=-1, required=True)
@click.option("-s", "--signal", "name", default="KILL", show_default=True, help="Name of the signal, such as TERM.")
@_SESSION
@with_target
def kill(target: Target, process_ids: tuple[str, ...], name: str, session: str) -> None:
    """Signal processes by their ids (or their beginnings); KILL ends everything they started."""
    with target.session(session) as sandbox:
        for process_id in process_ids:
            found = _find(sandbox, process_id).id
            sandbox.processes.signal(found, int(name) if name.isdecimal() else name)
            if target.terminal.is_json:
                target.terminal.show({"process_id": found, "signal": name, "status": "sent"})


def _find(sandbox: Sandbox, beginning: str) -> ProcessInfo:
    found = [process for process in sandbox.processes.list() if process.id.startswith(beginning)]
    exact = [process for process in found if process.id == beginning]
    if not found:
        raise NotFound(f"there is no process {beginning}", reason="UNKNOWN_PROCESS", field="process_id")
    if len(found) > 1 and not exact:
        message = f"{beginning} is the beginning of {len(found)} ids: give more of it"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="process_id")
    return (exact or found)[0]


def _status(process: ProcessInfo) -> str:
    if process.exited is None:
        return "running"
    if process.exited.status is Status.OK:
        return f"exited {process.exited.exit_code}"
    signal = f" by signal {process.exited.signal}" if process.exited.status is Status.KILLED else ""
    return f"{process.exited.status}{signal}"
