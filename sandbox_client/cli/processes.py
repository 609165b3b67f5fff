"""`sandbox ps`, `sandbox attach` and `sandbox kill`: the background processes of a session."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from sandbox_client.cli.exec import report
from sandbox_client.cli.options import SESSION_OPTION, Target, with_session_name, with_target

if TYPE_CHECKING:
    from sandbox_client.models.process_info import ProcessInfo
    from sandbox_client.sync.sandbox import Sandbox

_ID_WIDTH = 12
_COMMAND_WIDTH = 60


@click.command(epilog="\b\nExample:\n  sandbox ps my-session")
@with_session_name
@with_target
def ps(target: Target, name: str) -> None:
    """List background processes, with their tags in brackets.

    Shows those that are running or ended recently. `sandbox exec --detach --tag TAG` starts one.
    """
    with target.session(name) as sandbox:
        processes = sandbox.processes.list()
    if target.printer.is_json:
        target.printer.print_json([dataclasses.asdict(process) for process in processes])
        return
    target.printer.print_text(f"{'ID':{_ID_WIDTH}}  {'PID':>7}  {'STARTED (UTC)':16}  {'STATUS':20}  COMMAND")
    for process in processes:
        started = process.started_at.strftime("%Y-%m-%d %H:%M") if process.started_at else ""
        command = " ".join(process.command.split())
        command = command if len(command) <= _COMMAND_WIDTH else f"{command[: _COMMAND_WIDTH - 3]}..."
        command = f"[{process.tag}] {command}" if process.tag else command
        shown = "".join(character if character.isprintable() else "?" for character in command)
        target.printer.print_text(
            f"{process.id[:_ID_WIDTH]:{_ID_WIDTH}}  {process.pid:>7}  {started:16}  {_status(process):20}  {shown}"
        )


@click.command(
    epilog="""\b
Examples:
  sandbox attach --session my-session 3f2a
  sandbox attach --session my-session 3f2a --offset 1048576 > rest.log"""
)
@click.argument("process_id", metavar="ID")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Number of bytes of output to skip.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on, including its end.")
@SESSION_OPTION
@with_target
def attach(
    target: Target,
    process_id: str,
    offset: int,
    interactive: bool,  # noqa: FBT001 - click passes it by name
    session: str,
) -> int:
    """Attach to the background process ID.

    Shows its output from the start and exits with its exit code. The beginning of an id is enough if it is unique. The
    first Ctrl-C interrupts the process, the second kills it. If the process runs in a terminal, all keys go to it
    except Ctrl-], which detaches and leaves it running.
    """
    from sandbox_client.cli.terminal import attach_terminal  # noqa: PLC0415 - slow to import, and help does not need it

    with target.session(session) as sandbox:
        info = _find(sandbox, process_id)
        process = sandbox.processes.get(info.id)
        shows = not target.printer.is_json
        is_raw = shows and info.has_terminal and info.running and sys.stdin.isatty() and sys.stdout.isatty()
        result = attach_terminal(process, is_raw=is_raw, passes_input=is_raw or interactive, offset=offset, shows=shows)
    return 0 if result is None else report(target, result)


@click.command(
    epilog="""\b
Examples:
  sandbox kill --session my-session 3f2a
  sandbox kill --session my-session --signal TERM 3f2a 77b0"""
)
@click.argument("process_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--signal", "name", default="KILL", show_default=True, help="Name or number of the signal, such as TERM.")
@SESSION_OPTION
@with_target
def kill(target: Target, process_ids: tuple[str, ...], name: str, session: str) -> None:
    """Send a signal to background processes.

    The beginning of an id is enough if it is unique. KILL also ends everything that a process started.
    """
    with target.session(session) as sandbox:
        for process_id in process_ids:
            found = _find(sandbox, process_id).id
            sandbox.processes.signal(found, int(name) if name.isdecimal() else name)
            if target.printer.is_json:
                target.printer.print_json({"process_id": found, "signal": name, "status": "sent"})


def _find(sandbox: Sandbox, beginning: str) -> ProcessInfo:
    from sandbox_client.errors import InvalidArgument, NotFound  # noqa: PLC0415 - slow to import, and help needs none

    found = [process for process in sandbox.processes.list() if process.id.startswith(beginning)]
    exact = [process for process in found if process.id == beginning]
    if not found:
        raise NotFound(
            f"there is no process {beginning}: `sandbox ps` lists them", reason="UNKNOWN_PROCESS", field="process_id"
        )
    if len(found) > 1 and not exact:
        message = f"{len(found)} ids begin with {beginning}: give more characters"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="process_id")
    return (exact or found)[0]


def _status(process: ProcessInfo) -> str:
    from sandbox_client.models.results import Status  # noqa: PLC0415 - slow to import, and help does not need it

    if process.exited is None:
        return "running"
    if process.exited.status is Status.OK:
        return f"exited {process.exited.exit_code}"
    signal = f" by signal {process.exited.signal}" if process.exited.status is Status.KILLED else ""
    return f"{process.exited.status}{signal}"
