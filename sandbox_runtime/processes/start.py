"""What commands and background processes have in common: their arguments, their start, and how their end is told."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.interpreters.exit_status import read_end
from sandbox_runtime.interpreters.pool import process_limit
from sandbox_runtime.interpreters.zygote_client import Child, SpawnError, Zygote
from sandbox_runtime.settings import read_env

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_runtime.limits.oom_guard import MemoryWatch
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.session_state import State

MAX_INPUT: Final = 64 << 20
MAX_ID: Final = 128
_TERM: Final = "xterm-256color"
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


@dataclass(frozen=True, slots=True)
class Command:
    """What to start: words, folder, and variables beside the session's."""

    argv: list[str]
    cwd: str
    env: dict[str, str]


class Starter:
    """Starts commands.

    Args:
        state: The session.
        zygote: Forks them.
        memory: Watches what they use.
    """

    def __init__(self, state: State, zygote: Zygote, memory: MemoryWatch) -> None:
        self.state = state
        self._zygote = zygote
        self._memory = memory

    def read(self, arguments: dict[str, Any]) -> Command:
        """The command of an operation's arguments.

        Raises:
            OperationError: An argument is not valid; its field is named.
        """
        shell, argv = arguments.get("shell"), arguments.get("argv")
        if isinstance(shell, str) and shell.strip() and not argv:
            argv = [next((path for path in _SHELLS if os.path.exists(path)), "sh"), "-c", shell]  # noqa: PTH110 - hot path
        elif (
            not isinstance(argv, list)
            or not argv
            or not all(isinstance(part, str) for part in argv)
            or shell
            or not argv[0]
        ):
            raise invalid("command", "give either `shell` (not empty) or `argv` (at least the program)")
        if any("\0" in part for part in argv):
            raise invalid("command", "the command holds a NUL character")
        cwd = arguments.get("cwd") or ""
        if not isinstance(cwd, str):
            raise invalid("cwd", "`cwd` is not a string")
        return Command(argv, str(self.state.resolve_cwd(cwd)), read_env(arguments.get("env")))

    async def start(self, command: Command, descriptors: Sequence[int], *, has_terminal: bool = False) -> Child:
        """A process with these descriptors as 0, 1 and 2; the caller closes its own copies.

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
            "deny_network": self.state.limits.deny_network,
            "processes": process_limit(self.state),
            "file_bytes": self.state.limits.file_bytes,
            "terminal": has_terminal,
        }
        child = self._zygote.spawn(request, descriptors)
        self._memory.wake()
        try:
            await asyncio.shield(child.started)
        except SpawnError as error:
            raise _spawn_failure(error, command.argv[0]) from error
        return child

    def describe(self, child: Child, *, timed_out: bool) -> dict[str, Any]:
        """How a process ended: `status`, `exit_code` and `signal` of the link."""
        number, exit_code = read_end(child.ended.result() if child.ended.done() else signal.SIGKILL)
        word = "OK"
        if timed_out:
            word = "TIMED_OUT"
        elif number:
            oom = number == signal.SIGKILL and self._memory.explains(child)
            word = "OOM_KILLED" if oom else "KILLED"
        return {"status": word, "exit_code": exit_code, "signal": number}


async def read_input(channel: LinkChannel, name: str = "stdin", most: int = MAX_INPUT) -> bytes:
    """The bytes that an operation's `<name>_bytes` announces.

    Raises:
        OperationError: INVALID_ARGUMENT: their number is no number up to `most`, or they end early.
    """
    size = channel.arguments.get(f"{name}_bytes") or 0
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= most:
        raise invalid(name, f"`{name}` is more than {most} bytes")
    data = bytearray()
    while len(data) < size:
        piece = await channel.receive()
        if piece is None:
            raise invalid(name, "the input ended early")
        data += piece
    return bytes(data)


def read_id(arguments: dict[str, Any]) -> str:
    """The `process_id` argument.

    Raises:
        OperationError: INVALID_ARGUMENT.
    """
    process_id = arguments.get("process_id")
    if not isinstance(process_id, str) or not 0 < len(process_id) <= MAX_ID:
        raise invalid("process_id", f"`process_id` must have 1 to {MAX_ID} characters")
    return process_id


def open_input(data: bytes) -> int:
    """A descriptor that `data` is read from, up to its end."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def wait_for_end(child: Child, seconds: float | None) -> bool:
    """Whether it ended within that time (None: any)."""
    await asyncio.wait([child.ended], timeout=seconds)
    return child.ended.done()


def invalid(field: str, message: str) -> OperationError:
    """An INVALID_ARGUMENT that names the field."""
    return OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, field)


def _spawn_failure(error: SpawnError, program: str) -> OperationError:
    if error.stage == "program" and error.number in (errno.ENOENT, errno.ENOTDIR):
        return OperationError("NOT_FOUND", "FILE_NOT_FOUND", f"no such program: {program}", "command")
    if error.stage == "program" and error.number in (errno.EACCES, errno.ENOEXEC, errno.E2BIG):
        return invalid("command", f"cannot run {program}: {os.strerror(error.number)}")
    if error.stage == "cwd":
        return OperationError("NOT_FOUND", "FILE_NOT_FOUND", "`cwd` does not exist any more", "cwd")
    code = "RESOURCE_EXHAUSTED" if error.number in (errno.EAGAIN, errno.ENOMEM) else "UNAVAILABLE"
    return OperationError(code, "RUNTIME_UNAVAILABLE", f"the command could not be started: {error}")
