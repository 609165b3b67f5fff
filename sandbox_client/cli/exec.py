"""`sandbox exec`: runs a command to its end, in a terminal, or in the background."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from typing import TYPE_CHECKING, Literal

import click

from sandbox_client.cli.options import Target, check_words, with_session_options, with_target
from sandbox_client.cli.run.limits import Limits, with_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.models.results import CommandResult
    from sandbox_client.sync.sandbox import Sandbox


@dataclasses.dataclass(frozen=True, slots=True)
class _Command:
    words: str | list[str]
    cwd: str
    timeout: float | None
    env: Mapping[str, str]
    tag: str = ""


@click.command(
    name="exec",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  sandbox exec --session my-session -- pip install tqdm
  sandbox exec --shell -- 'ls -l | head -3'           in a local session
  sandbox exec --session my-session -it -- bash
  sandbox exec --session my-session --detach -- python -m http.server""",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--shell", is_flag=True, help="Join the words and run them as one bash command line.")
@click.option(
    "--cwd", default="", help="Working folder, in the workspace, the home folder or /tmp. Default: the workspace."
)
@with_limits(
    "Time limit in seconds. Default: the session's own, 300 unless its template sets another; none with -t, -i or -d."
)
@click.option("-t", "--tty", is_flag=True, help="Attach this terminal, for example for an interactive shell.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on. With --detach: keep it open.")
@click.option("-d", "--detach", is_flag=True, help="Start the command in the background and print its id.")
@click.option("--tag", default="", help="With --detach: a word to find the command by in `sandbox ps`.")
@with_session_options
@with_target
def exec_(
    target: Target,
    command: tuple[str, ...],
    shell: bool,  # noqa: FBT001 - click passes it by name
    cwd: str,
    limits: Limits,
    tty: bool,  # noqa: FBT001 - same
    interactive: bool,  # noqa: FBT001 - same
    detach: bool,  # noqa: FBT001 - same
    tag: str,
    session: str | None,
    workspace: str | None,
    store: str | None,
    egress: Literal["public", "none"],
) -> int:
    """Run COMMAND and exit with its exit code. Options must come before COMMAND.

    Without --session it runs on this machine, as your user and without isolation, in a folder of its own or in
    --workspace.

    Exit code 124: the time limit was hit. 126: the program cannot be executed. 127: there is no such program. 128 + N:
    signal N ended it.

    The first Ctrl-C interrupts the command, the second kills it. With --tty, all keys go to the command except Ctrl-],
    which detaches and leaves it running. `sandbox attach` returns to it.
    """
    check_words("COMMAND", command)
    _check(target, session, tty=tty, detach=detach)
    terminal = {"TERM": os.environ["TERM"]} if tty and "TERM" in os.environ else {}
    words = " ".join(command) if shell else list(command)
    if tag and not detach:
        raise click.UsageError("--tag is for a command in the background: add --detach")
    given = _Command(words, cwd, limits.timeout, {**terminal, **limits.env}, tag)
    from sandbox_client.cli.ending import report_missing_network, start_exit_code  # noqa: PLC0415 - slow to import
    from sandbox_client.errors import SandboxError  # noqa: PLC0415 - same

    with target.session_or_local(session, workspace, store, egress, **limits.for_session(session)) as sandbox:
        try:
            if detach:
                return _start(target, sandbox, given, tty=tty, interactive=interactive)
            result = _attach(target, sandbox, given, tty=tty) if tty or interactive else _run(target, sandbox, given)
        except SandboxError as error:
            code = start_exit_code(error, "" if shell else command[0])
            if code is None:
                raise
            target.printer.fail(error)
            return code
        if result is None:
            return 0
        report_missing_network(target.printer, sandbox, result)
        return report(target, result)


def report(target: Target, result: CommandResult) -> int:
    """Print a command's result and return its exit code."""
    from sandbox_client.cli.ending import command_exit_code, report_command_end  # noqa: PLC0415 - slow to import

    if target.printer.is_json:
        target.printer.print_json(dataclasses.asdict(result))
    report_command_end(target.printer, result)
    return command_exit_code(result)


def _check(target: Target, session: str | None, *, tty: bool, detach: bool) -> None:
    if detach and not session:
        raise click.UsageError("--detach needs --session: a local session ends together with this command")
    if tty and not detach:
        if target.printer.is_json:
            raise click.UsageError("--tty does not support JSON output")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError("--tty needs a terminal. To pass standard input on without one, use -i")


def _attach(target: Target, sandbox: Sandbox, given: _Command, *, tty: bool) -> CommandResult | None:
    from sandbox_client.cli.terminal import attach_terminal, terminal_size  # noqa: PLC0415 - slow to import

    size = terminal_size() if tty else None
    process = sandbox.processes.start(
        given.words, cwd=given.cwd, timeout=given.timeout, env=given.env, terminal=size, keep_input=True
    )
    return attach_terminal(process, is_raw=tty, passes_input=True, shows=not target.printer.is_json)


def _start(target: Target, sandbox: Sandbox, given: _Command, *, tty: bool, interactive: bool) -> int:
    from sandbox_client.cli.terminal import terminal_size  # noqa: PLC0415 - slow to import

    process = sandbox.processes.start(
        given.words,
        cwd=given.cwd,
        timeout=given.timeout,
        env=given.env,
        terminal=terminal_size() if tty else None,
        keep_input=interactive,
        tag=given.tag,
    )
    facts = {"process_id": process.id, "pid": process.pid, "command": process.command}
    target.printer.print(facts, process.id)
    return 0


def _run(target: Target, sandbox: Sandbox, given: _Command) -> CommandResult:
    from sandbox_client.cli.interrupts import Interrupts  # noqa: PLC0415 - slow to import, and help does not need it
    from sandbox_client.models.aggregation import CommandFold  # noqa: PLC0415 - same
    from sandbox_client.models.events import Started  # noqa: PLC0415 - same

    fold = CommandFold("", target.printer.write_stdout, target.printer.write_stderr)
    with Interrupts() as interrupts:
        for event in sandbox.stream_command(given.words, cwd=given.cwd, timeout=given.timeout, env=given.env):
            if isinstance(event, Started):
                interrupts.pass_to(functools.partial(sandbox.processes.signal, event.id))
            fold.add(event)
    return fold.finish()
