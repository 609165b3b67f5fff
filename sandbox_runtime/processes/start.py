"""Starts commands and background processes, reads their arguments, and describes their end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.interpreters.exit_status import read_end
from sandbox_runtime.interpreters.zygote_client import Child, SpawnError, ZygoteClient
from sandbox_runtime.settings import read_env

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_runtime.limits.oom_guard import OomGuard
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.session_state import SessionState

MAX_INPUT: Final = 64 << 20
MAX_ID: Final = 128
_TERM: Final = "xterm-256color"
_MAX_LINE: Final = (128 << 10) - 1
"""Bytes of the longest shell line that is an argument of the shell: the kernel's limit, without the NUL at its end."""
_MAX_SHELL: Final = 16 << 20
_SCRIPT_FD: Final = 3
_RUN_SCRIPT: Final = f'eval "exec {_SCRIPT_FD}<&-; $(cat <&{_SCRIPT_FD})"'
"""Runs a longer line, which the shell reads from a descriptor, with the same line numbers."""
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, its working directory, and variables beyond the session's.

    Attributes:
        argv: The program and its arguments.
        cwd: The working directory.
        env: The variables.
        stdin: The beginning of standard input.
        script: What it reads from a further descriptor: a shell line that is too long for an argument.
    """

    argv: list[str]
    cwd: str
    env: dict[str, str]
    stdin: bytes = b""
    script: bytes = b""


class Starter:
    """Starts commands.

    Args:
        state: The session.
        zygote: Forks them.
        oom_guard: Watches their memory.
    """

    def __init__(self, state: SessionState, zygote: ZygoteClient, oom_guard: OomGuard) -> None:
        self.state = state
        self._zygote = zygote
        self._oom_guard = oom_guard

    async def read(self, channel: LinkChannel) -> Command:
        """Return the command in an operation's arguments and its BODY: a long shell line, then standard input.

        Raises:
            OperationError: An argument is not valid; its field is named.
        """
        arguments, script = channel.arguments, b""
        shell, argv = arguments.get("shell"), arguments.get("argv")
        shell_size, stdin_size = _read_size(channel, "shell", _MAX_SHELL), _read_size(channel, "stdin", MAX_INPUT)
        body = await _receive(channel, shell_size + stdin_size, "stdin")
        if shell_size:
            shell = body[:shell_size].decode("utf-8", "surrogateescape")
        if isinstance(shell, str) and shell.strip() and not argv:
            argv, script = _shell_argv(shell)
        elif (
            shell or not isinstance(argv, list) or not all(isinstance(word, str) for word in argv) or not any(argv[:1])
        ):
            raise invalid(
                "command", "the command is empty: give a line for the shell, or at least the name of a program"
            )
        if any("\0" in part for part in argv) or b"\0" in script:
            raise invalid("command", "the command has a NUL character: remove it")
        cwd = arguments.get("cwd") or ""
        if not isinstance(cwd, str):
            raise invalid("cwd", "`cwd` is not a string")
        return Command(
            argv, str(self.state.resolve_cwd(cwd)), read_env(arguments.get("env")), body[shell_size:], script
        )

    async def start(self, command: Command, descriptors: Sequence[int], *, has_terminal: bool = False) -> Child:
        """Start a process.

        Args:
            command: The command.
            descriptors: The process's 0, 1 and 2. The caller closes its own copies.
            has_terminal: True if descriptor 0 is a terminal.

        Raises:
            OperationError: It could not be started.
        """
        environment = self.state.environment(command.env)
        if has_terminal and "TERM" not in {*self.state.env, *command.env}:
            environment["TERM"] = _TERM
        request = {
            "kind": "exec",
            "argv": command.argv,
            "env": environment,
            "cwd": command.cwd,
            "sockets": self.state.sockets,
            "processes": self.state.process_limit(),
            "file_bytes": self.state.limits.file_bytes,
            "terminal": has_terminal,
        }
        child = self._spawn(request, descriptors, command.script)
        self._oom_guard.wake()
        try:
            await asyncio.shield(child.started)
        except SpawnError as error:
            raise _spawn_failure(error, command.argv[0]) from error
        return child

    def _spawn(self, request: dict[str, Any], descriptors: Sequence[int], script: bytes) -> Child:
        if not script:
            return self._zygote.spawn(request, descriptors)
        source = open_input(script)
        try:
            return self._zygote.spawn(request, [*descriptors, source])
        finally:
            os.close(source)

    def describe(self, child: Child, *, timed_out: bool) -> dict[str, Any]:
        """Return how a process ended: `status`, `exit_code` and `signal` of the link."""
        number, exit_code = read_end(child.ended.result() if child.ended.done() else signal.SIGKILL)
        status = "OK"
        if timed_out:
            status = "TIMED_OUT"
        elif number:
            oom = number == signal.SIGKILL and self._oom_guard.was_oom_kill(child)
            status = "OOM_KILLED" if oom else "KILLED"
        return {"status": status, "exit_code": exit_code, "signal": number}


def _shell_argv(line: str) -> tuple[list[str], bytes]:
    """Return the arguments that run a shell line, and the script if the line is too long to be one of them."""
    shell = next((path for path in _SHELLS if os.path.exists(path)), "sh")  # noqa: PTH110 - hot path
    if len(line) * 4 > _MAX_LINE and len(encoded := os.fsencode(line)) > _MAX_LINE:
        return [shell, "-c", _RUN_SCRIPT], encoded
    return [shell, "-c", line], b""


async def read_input(channel: LinkChannel, name: str = "stdin", max_bytes: int = MAX_INPUT) -> bytes:
    """Receive the input whose size an operation's `<name>_bytes` gives.

    Args:
        channel: The operation.
        name: Name of the input.
        max_bytes: Maximum size of the input.

    Raises:
        OperationError: INVALID_ARGUMENT: the size is not a number up to `max_bytes`, or the input ends early.
    """
    return await _receive(channel, _read_size(channel, name, max_bytes), name)


def _read_size(channel: LinkChannel, name: str, max_bytes: int) -> int:
    size = channel.arguments.get(f"{name}_bytes") or 0
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= max_bytes:
        raise invalid(name, f"`{name}` may have at most {max_bytes} bytes")
    return size


async def _receive(channel: LinkChannel, size: int, name: str) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await channel.receive()
        if piece is None:
            raise invalid(name, f"`{name}` ended early")
        data += piece
    return bytes(data)


def read_id(arguments: dict[str, Any]) -> str:
    """Return the `process_id` argument.

    Raises:
        OperationError: INVALID_ARGUMENT: it is missing, or too long.
    """
    process_id = arguments.get("process_id")
    if not isinstance(process_id, str) or not 0 < len(process_id) <= MAX_ID:
        raise invalid("process_id", f"`process_id` must have 1 to {MAX_ID} characters")
    return process_id


def open_input(data: bytes) -> int:
    """Return a descriptor from which a child reads `data` and then end of file."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def wait_for_end(child: Child, seconds: float | None) -> bool:
    """Wait for a child's end, at most this long (None: forever). Returns True if it has ended."""
    await asyncio.wait([child.ended], timeout=seconds)
    return child.ended.done()


def _spawn_failure(error: SpawnError, program: str) -> OperationError:
    if error.stage == "program" and error.number in (errno.ENOENT, errno.ENOTDIR):
        return OperationError(
            "NOT_FOUND",
            "FILE_NOT_FOUND",
            f"there is no program {program!r} in the sandbox: install it, or check its name and path",
            "command",
        )
    if error.stage == "program" and error.number == errno.E2BIG:
        return invalid(
            "command", "the arguments and the environment are too large together: pass them in a file, or by stdin"
        )
    if error.stage == "program" and error.number in (errno.EACCES, errno.ENOEXEC):
        return invalid(
            "command",
            f"the program {program!r} cannot be run: {os.strerror(error.number)}. Check its permissions and its format",
        )
    if error.stage == "cwd":
        return OperationError(
            "NOT_FOUND", "FILE_NOT_FOUND", "the working directory was removed: create it, or choose another one", "cwd"
        )
    code = "RESOURCE_EXHAUSTED" if error.number in (errno.EAGAIN, errno.ENOMEM) else "UNAVAILABLE"
    return OperationError(
        code, "RUNTIME_UNAVAILABLE", f"the command could not be started ({error}): end other processes, or try again"
    )
