"""Runs a file as a command of the session, with this terminal's input, output, signals and exit code."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import signal
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Final, NoReturn

from sandbox_client.cli.run.file_kind import NODE_LAUNCHER
from sandbox_client.cli.run.shown import SUFFIXES
from sandbox_client.cli.terminal import attach_terminal
from sandbox_client.errors import NotFound, NotSupported, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox_client.cli.run.shown import Shown
    from sandbox_client.models.results import CommandResult
    from sandbox_client.sync.sandbox import Sandbox

_LAUNCHER: Final = "sandbox-script"
"""The command of the runtime that runs a Python file and keeps what it shows (sandbox_runtime/scripts)."""
_INSTEAD: Final = {_LAUNCHER: "python3 {}`, without pictures", NODE_LAUNCHER: "node {}`"}

_SIGNAL_EXIT: Final = 128
_IN_FOLDER: Final = 'cd "$1" && shift && exec "$@"'


@dataclasses.dataclass(frozen=True, slots=True)
class Script:
    """A file to run.

    Attributes:
        path: Its path in the session: relative to the workspace, or absolute.
        words: Its arguments.
        program: The words before it. Empty for Python, which the runtime starts.
        folder: The folder to start in, for a session on this machine. The workspace if empty.
        timeout: Seconds after which it is killed.
        env: Its environment variables, in addition to the session's.
    """

    path: str
    words: Sequence[str]
    program: Sequence[str]
    folder: str
    timeout: float
    env: Mapping[str, str]

    def command(self, run_id: str) -> list[str]:
        """Return the command that runs it.

        Args:
            run_id: Random id under which the runtime keeps what a Python file shows.
        """
        command = [*(self.program or (_LAUNCHER, run_id)), self.path, *self.words]
        # A session checks that a command starts in its workspace.
        return ["sh", "-c", _IN_FOLDER, "sh", self.folder, *command] if self.folder else command


def run_script(sandbox: Sandbox, script: Script, *, shows: bool) -> tuple[str, CommandResult]:
    """Run a script to its end.

    Args:
        sandbox: The session.
        script: The script.
        shows: Whether its output is written here. If not, it is in the result.

    Returns:
        The id under which the runtime keeps what it has shown, and how it ended.

    Raises:
        NotSupported: The session's image is older than this command.
        SandboxError: The script could not be started.
    """
    run_id = uuid.uuid4().hex
    source = _input()
    try:
        process = sandbox.processes.start(
            script.command(run_id), timeout=script.timeout, env=script.env, keep_input=source >= 0
        )
    except NotFound as error:
        launcher = next(iter(script.program), _LAUNCHER)
        if launcher not in _INSTEAD or error.field != "command":
            raise
        raise NotSupported(
            f"this session's image has no {launcher}: it is older than this command, or has no Node. Update the image, "
            f"or run `sandbox exec --session NAME -- {_INSTEAD[launcher].format(script.path)}",
            reason="OLD_IMAGE",
        ) from error
    try:
        with _ending_on_signals():
            result = attach_terminal(process, is_raw=False, passes_input=source >= 0, shows=shows)
    except BaseException:
        # No reader of its output is left: a third Ctrl-C, SIGTERM, a broken pipe, a full disk.
        with contextlib.suppress(SandboxError):
            process.kill()
        raise
    if result is None:
        raise AssertionError("only a terminal can be detached")
    return run_id, result


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that the script in its session ends together with this program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: object) -> NoReturn:
    sys.exit(_SIGNAL_EXIT + number)


def _input() -> int:
    """Return the descriptor of standard input, or -1 if there is none."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return -1


def fetch_shown(sandbox: Sandbox, run_id: str, *, wants_content: bool) -> list[Shown]:
    """Return what a Python file has shown, and delete it in the session.

    Args:
        sandbox: The session.
        run_id: The id that `run_script` returned.
        wants_content: Whether the contents are fetched too. Otherwise they are empty.

    Raises:
        SandboxError: It could not be fetched.
    """
    listed = sandbox.run([_LAUNCHER, "--results" if wants_content else "--discard", run_id])
    if listed.dropped_bytes:
        raise SandboxError("together they exceed the output limit: save them with the code", reason="OUTPUT_LIMIT")
    if not listed.ok:
        raise SandboxError(f"{_LAUNCHER} ended with exit code {listed.exit_code}", reason="LAUNCHER")
    try:
        lines = [json.loads(line) for line in listed.stdout.splitlines()]
        shown = [(str(line["suffix"]), base64.b64decode(line.get("data", ""), validate=True)) for line in lines]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SandboxError(f"the answer of {_LAUNCHER} is not valid", reason="LAUNCHER") from error
    # The session may be hostile, and the suffix becomes a part of a path here.
    if any(suffix not in SUFFIXES for suffix, _ in shown):
        raise SandboxError(f"{_LAUNCHER} names a kind of file that it does not make", reason="LAUNCHER")
    return shown
