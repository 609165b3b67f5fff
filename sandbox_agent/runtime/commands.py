"""The `run` operation: a command with its output, deadline and end. Its process leads a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.link.calls import OperationError
from sandbox_agent.link.frames import Stream
from sandbox_agent.runtime.nursery import process_limit
from sandbox_agent.runtime.output import OutputLimit
from sandbox_agent.runtime.pipe import OutputPipe
from sandbox_agent.runtime.process_tree import kill_tree
from sandbox_agent.runtime.settings import read_env
from sandbox_agent.runtime.spawner import Child, SpawnError, Zygote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_agent.runtime.channel import LinkChannel
    from sandbox_agent.runtime.memory import OomCounter
    from sandbox_agent.runtime.state import State

_MAX_INPUT: Final = 64 << 20
_SIGNAL_EXIT: Final = 128
_END_AFTER_KILL: Final = 2.0
_SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


@dataclass(frozen=True, slots=True)
class _Command:
    argv: list[str]
    cwd: str
    env: dict[str, str]
    timeout: float


class Commands:
    """Runs commands.

    Args:
        state: The session.
        zygote: Starts them.
        oom: Tells whether the kernel killed for memory.
    """

    def __init__(self, state: State, zygote: Zygote, oom: OomCounter) -> None:
        self._state = state
        self._zygote = zygote
        self._oom = oom
        self.running: set[Child] = set()

    async def run(self, channel: LinkChannel) -> dict[str, Any]:
        """Handle a `run` operation.

        Raises:
            OperationError: An argument is not valid (its field is named), or the program does not exist.
        """
        command = self._read(channel.arguments)
        stdin = await _read_input(channel)
        loop = asyncio.get_running_loop()
        started = loop.time()
        output = _Output(channel, self._state.limits.output_bytes)
        child = await self._start(command, stdin, output)
        self.running.add(child)
        timed_out = False
        try:
            channel.send_event({"type": "started", "pid": child.pid})
            timed_out = not await _wait(child, command.timeout)
            if timed_out:
                output.release()
                await kill_tree(child.tree, child.pid)
                await _wait(child, _END_AFTER_KILL)
        except asyncio.CancelledError:
            await kill_tree(child.tree, child.pid)
            raise
        finally:
            self.running.discard(child)
            output.end()
        status = child.ended.result() if child.ended.done() else signal.SIGKILL
        result = self._describe(status, timed_out=timed_out)
        return {**result, "duration": loop.time() - started, "dropped_bytes": output.dropped}

    async def close(self) -> None:
        """Kill every command that runs."""
        await asyncio.gather(*(kill_tree(child.tree, child.pid) for child in self.running))

    def _read(self, arguments: dict[str, Any]) -> _Command:
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
            raise _invalid("command", "give either `shell` (not empty) or `argv` (at least the program)")
        if any("\0" in part for part in argv):
            raise _invalid("command", "the command holds a NUL character")
        cwd = arguments.get("cwd") or ""
        if not isinstance(cwd, str):
            raise _invalid("cwd", "`cwd` is not a string")
        timeout = self._state.read_timeout(arguments.get("timeout"))
        return _Command(argv, str(self._state.resolve_cwd(cwd)), read_env(arguments.get("env")), timeout)

    async def _start(self, command: _Command, stdin: bytes, output: _Output) -> Child:
        request = {
            "kind": "exec",
            "argv": command.argv,
            "env": self._state.environment(command.env),
            "cwd": command.cwd,
            "deny_network": self._state.limits.deny_network,
            "processes": process_limit(self._state),
        }
        source = _open_input(stdin)
        try:
            child = self._zygote.spawn(request, [source, *output.descriptors()])
        finally:
            os.close(source)
            output.close_writes()
        try:
            await asyncio.shield(child.started)
        except SpawnError as error:
            output.end()
            raise _spawn_failure(error, command.argv[0]) from error
        return child

    def _describe(self, status: int, *, timed_out: bool) -> dict[str, Any]:
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else 0
        word = "OK"
        if timed_out:
            word = "TIMED_OUT"
        elif number:
            oom = number == signal.SIGKILL and self._oom.has_risen()
            word = "OOM_KILLED" if oom else "KILLED"
        return {"status": word, "exit_code": _SIGNAL_EXIT + number if number else code, "signal": number}


class _Output:
    """Both pipes of a command, under the limit, paused while the agent does not read."""

    def __init__(self, channel: LinkChannel, limit: int) -> None:
        self._channel = channel
        self._limit = OutputLimit(limit)
        self._unhindered = False
        self._pipes = [OutputPipe(self._receiver(stream)) for stream in (Stream.STDOUT, Stream.STDERR)]
        channel.on_writable = self._resume

    @property
    def dropped(self) -> int:
        return self._limit.dropped

    def descriptors(self) -> Sequence[int]:
        return [pipe.write_fd for pipe in self._pipes]

    def close_writes(self) -> None:
        for pipe in self._pipes:
            pipe.close_write()

    def release(self) -> None:
        """Past the deadline nothing waits for the agent any more; the limit bounds what is kept."""
        self._unhindered = True
        self._resume()

    def end(self) -> None:
        """Take what is there, and leave the rest to nobody: a background child may keep the pipes open for long."""
        for pipe in self._pipes:
            pipe.drain()
            pipe.discard()
        for stream, data in self._limit.take_tail():
            self._channel.write(stream, data)

    def _receiver(self, stream: Stream) -> Any:
        def receive(data: bytes) -> None:
            self._channel.write(stream, self._limit.admit(stream, memoryview(data)))
            if self._channel.is_blocked and not self._unhindered:
                for pipe in self._pipes:
                    pipe.pause()

        return receive

    def _resume(self) -> None:
        for pipe in self._pipes:
            pipe.resume()


async def _read_input(channel: LinkChannel) -> bytes:
    size = channel.arguments.get("stdin_bytes") or 0
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_INPUT:
        raise _invalid("stdin", f"`stdin` is more than {_MAX_INPUT} bytes")
    data = bytearray()
    while len(data) < size:
        piece = await channel.receive()
        if piece is None:
            raise _invalid("stdin", "the input ended early")
        data += piece
    return bytes(data)


def _open_input(data: bytes) -> int:
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _wait(child: Child, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(child.ended), seconds)
    return child.ended.done()


def _spawn_failure(error: SpawnError, program: str) -> OperationError:
    if error.stage == "program" and error.number in (errno.ENOENT, errno.ENOTDIR):
        return OperationError("NOT_FOUND", "FILE_NOT_FOUND", f"no such program: {program}", "command")
    if error.stage == "program" and error.number in (errno.EACCES, errno.ENOEXEC, errno.E2BIG):
        return _invalid("command", f"cannot run {program}: {os.strerror(error.number)}")
    if error.stage == "cwd":
        return OperationError("NOT_FOUND", "FILE_NOT_FOUND", "`cwd` does not exist any more", "cwd")
    code = "RESOURCE_EXHAUSTED" if error.number in (errno.EAGAIN, errno.ENOMEM) else "UNAVAILABLE"
    return OperationError(code, "RUNTIME_UNAVAILABLE", f"the command could not be started: {error}")


def _invalid(field: str, message: str) -> OperationError:
    return OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, field)
