"""`sandbox exec`: a command to its end, in a terminal, or in the background."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from typing import TYPE_CHECKING, Literal

import click

from sandbox_client.cli.interrupts import Interrupts
from sandbox_client.cli.options import Target, where, with_target
from sandbox_client.cli.output import EXIT_FAILED
from sandbox_client.cli.terminal import relay, terminal_size
from sandbox_client.models.aggregation import CommandFold
from sandbox_client.models.events import Started
from sandbox_client.models.results import CommandResult, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.sync.sandbox import Sandbox


@dataclasses.dataclass(frozen=True, slots=True)
class _Command:
    words: str | list[str]
    cwd: str
    timeout: float | None
    env: Mapping[str, str]


@click.command(
    name="exec",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  sandbox exec --session my-session -- pip install tqdm
  sandbox exec --shell -- 'ls -l | head -3'
  sandbox exec --session my-session -it -- bash
  sandbox exec --session my-session --detach -- python -m http.server""",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--shell", is_flag=True, help="Give the words to bash as one line.")
@click.option("--cwd", default="", help="Folder in the workspace.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds it may take.")
@click.option("-t", "--tty", is_flag=True, help="Run it in a terminal, this one: an interactive shell, for example.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on; with --detach: keep it open.")
@click.option("-d", "--detach", is_flag=True, help="Start it in the background and print its id.")
@where
@with_target
def exec_(
    target: Target,
    command: tuple[str, ...],
    shell: bool,  # noqa: FBT001 - click passes it by name
    cwd: str,
    timeout: float | None,
    tty: bool,  # noqa: FBT001 - same
    interactive: bool,  # noqa: FBT001 - same
    detach: bool,  # noqa: FBT001 - same
    session: str | None,
    workspace: str | None,
    store: str | None,
    egress: Literal["public", "none"],
) -> int:
    """Run COMMAND and exit with its exit code. Options of this command come before it.

    Ctrl-C interrupts the command, and kills it the second time. In a terminal, all keys go to the command but
    Ctrl-], which leaves it running (see `sandbox attach`).
    """
    _check(target, session, tty=tty, detach=detach)
    env = {"TERM": os.environ["TERM"]} if tty and "TERM" in os.environ else {}
    asked = _Command(" ".join(command) if shell else list(command), cwd, timeout, env)
    with target.session_or_local(session, workspace, store, egress) as sandbox:
        if detach:
            return _start(target, sandbox, asked, tty=tty, interactive=interactive)
        if tty or interactive:
            size = terminal_size() if tty else None
            process = sandbox.processes.start(
                asked.words, cwd=cwd, timeout=timeout, env=env, terminal=size, keep_input=True
            )
            result = relay(process, is_raw=tty, passes_input=True, shows=not target.terminal.is_json)
            return 0 if result is None else report(target, result)
        return report(target, _run(target, sandbox, asked))


def report(target: Target, result: CommandResult) -> int:
    """Show how a command ended; the exit code for it."""
    if target.terminal.is_json:
        target.terminal.show(dataclasses.asdict(result))
    elif result.status is not Status.OK:
        why = f": {result.message}" if result.message else ""
        target.terminal.write_stderr(f"it ended with {result.status}{why}\n")
    return result.exit_code or (0 if result.status is Status.OK else EXIT_FAILED)


def _check(target: Target, session: str | None, *, tty: bool, detach: bool) -> None:
    if detach and not session:
        raise click.UsageError("--detach needs --session: a local session ends with this command")
    if tty and not detach:
        if target.terminal.is_json:
            raise click.UsageError("--tty has no JSON form")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError("--tty needs a terminal; -i passes standard input on without one")


def _start(target: Target, sandbox: Sandbox, asked: _Command, *, tty: bool, interactive: bool) -> int:
    process = sandbox.processes.start(
        asked.words,
        cwd=asked.cwd,
        timeout=asked.timeout,
        env=asked.env,
        terminal=terminal_size() if tty else None,
        keep_input=interactive,
    )
    if target.terminal.is_json:
        target.terminal.show({"process_id": process.id, "pid": process.pid, "command": process.command})
    target.terminal.say(process.id)
    return 0


def _run(target: Target, sandbox: Sandbox, asked: _Command) -> CommandResult:
    fold = CommandFold("", target.terminal.write_stdout, target.terminal.write_stderr)
    with Interrupts() as interrupts:
        for event in sandbox.stream_command(asked.words, cwd=asked.cwd, timeout=asked.timeout):
            if isinstance(event, Started):
                interrupts.pass_to(functools.partial(sandbox.processes.signal, event.id))
            fold.add(event)
    return fold.finish()
