"""The link's `process.*` operations: background processes by the ids that the agent chose."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.processes.background_process import BackgroundProcess, process_ended, signal_group
from sandbox_runtime.processes.start import read_id, read_input
from sandbox_runtime.processes.stdio import Pipes, Terminal

if TYPE_CHECKING:
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler
    from sandbox_runtime.processes.command import Commands
    from sandbox_runtime.processes.start import Command, Starter
    from sandbox_runtime.processes.stdio import ProcessIO

LASTING: Final = frozenset({"process.start", "process.attach"})
"""Operations that continue when the connection is lost."""
_MAX_RUNNING: Final = 256
_KEEP_ENDED: Final = 64
_MAX_INPUT: Final = 1 << 20
_MAX_LABEL: Final = 64 << 10
_MAX_SIDE: Final = 65535
_LAST_SIGNAL: Final = 64


class BackgroundProcesses:
    """The session's background processes, and the handlers of `process.*`.

    Args:
        starter: Starts them.
        commands: The commands of `run`, which `process.signal` can signal too.
    """

    def __init__(self, starter: Starter, commands: Commands) -> None:
        self._starter = starter
        self._commands = commands
        self._running: dict[str, BackgroundProcess] = {}
        self._ended: OrderedDict[str, BackgroundProcess] = OrderedDict()
        self._watchers: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Number of processes that run."""
        return len(self._running)

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by operation."""
        return {
            "process.start": self.start,
            "process.attach": self.attach,
            "process.list": self.list,
            "process.input": self.input,
            "process.signal": self.signal,
            "process.resize": self.resize,
        }

    async def terminate(self) -> None:
        """Ask them all to end, so that they can save their data."""
        await asyncio.gather(*(process.terminate() for process in self._running.values()))

    async def close(self) -> None:
        """Kill them all."""
        await asyncio.gather(*(process.kill() for process in list(self._running.values())))
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def start(self, channel: LinkChannel) -> dict[str, Any]:
        """Start a process and follow it to its end.

        Raises:
            OperationError: An argument is not valid (its field is named), or the program does not exist.
        """
        arguments = channel.arguments
        process_id = read_id(arguments)
        timeout = _read_timeout(arguments)
        size = _read_size(arguments) if arguments.get("rows") or arguments.get("columns") else None
        label = arguments.get("label") or ""
        if not isinstance(label, str) or len(label) > _MAX_LABEL:
            raise invalid("label", f"`label` must be a string of at most {_MAX_LABEL} characters")
        if process_id in self._running or process_id in self._ended:
            message = "another process has this id; choose another one"
            raise OperationError("ALREADY_EXISTS", "ALREADY_EXISTS", message, "process_id")
        if len(self._running) >= _MAX_RUNNING:
            message = f"{_MAX_RUNNING} background processes run already; end one first"
            raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_PROCESSES", message)
        process = BackgroundProcess(label)
        # Reserve the id before the first await: two starts with one id must not both succeed.
        self._running[process_id] = process
        try:
            command = await self._starter.read(channel)
            await self._begin(process, command, size, end_input=bool(arguments.get("end")))
        except BaseException:
            del self._running[process_id]
            raise
        watcher = asyncio.get_running_loop().create_task(self._watch(process_id, process, timeout))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return await process.follow(channel)

    async def attach(self, channel: LinkChannel) -> dict[str, Any]:
        """Follow a process from the current end of its output."""
        process_id = read_id(channel.arguments)
        process = self._running.get(process_id) or self._ended.get(process_id)
        if process is None:
            raise _unknown(process_id)
        return await process.follow(channel)

    async def list(self, _channel: LinkChannel) -> dict[str, Any]:
        """Return the ids and labels of the known processes, those that have ended first."""
        known = {**self._ended, **self._running}
        return {"processes": [{"process_id": name, "label": process.label} for name, process in known.items()]}

    async def input(self, channel: LinkChannel) -> dict[str, Any]:
        """Write to the standard input of a process, or of a command of `run` that keeps it open."""
        is_end = channel.arguments.get("end") is True
        command = self._commands.inputs.get(read_id(channel.arguments))
        send = command.write if command else self._named(channel.arguments).send_input
        await send(await read_input(channel, "data", _MAX_INPUT), end=is_end)
        return {}

    async def signal(self, channel: LinkChannel) -> dict[str, Any]:
        """Signal a process, or a command of `run`."""
        arguments = channel.arguments
        number = _read_integer(arguments, "signal", _LAST_SIGNAL)
        command = self._commands.running.get(read_id(arguments))
        if command is not None:
            await signal_group(command, number)
        else:
            await self._named(arguments).signal(number)
        return {}

    async def resize(self, channel: LinkChannel) -> dict[str, Any]:
        """Change the size of a process's terminal."""
        rows, columns = _read_size(channel.arguments)
        self._named(channel.arguments).resize(rows, columns)
        return {}

    async def _begin(
        self,
        process: BackgroundProcess,
        command: Command,
        size: tuple[int, int] | None,
        *,
        end_input: bool,
    ) -> None:
        io = _open_io(process, command.stdin, size, end_input=end_input)
        process.prepare(io)
        try:
            child = await self._starter.start(command, io.descriptors(), has_terminal=size is not None)
            process.begin(child)
            if io.input is not None and command.stdin:
                await io.input.write(command.stdin, end=False)
        except BaseException:
            io.close()
            raise
        io.close_child()

    async def _watch(self, process_id: str, process: BackgroundProcess, timeout: float | None) -> None:  # noqa: ASYNC109 - the process's, as in `watch`
        try:
            await process.watch(self._starter, timeout)
        finally:
            del self._running[process_id]
            self._ended[process_id] = process
            while len(self._ended) > _KEEP_ENDED:
                self._ended.popitem(last=False)

    def _named(self, arguments: dict[str, Any]) -> BackgroundProcess:
        process_id = read_id(arguments)
        process = self._running.get(process_id)
        if process is None:
            raise process_ended() if process_id in self._ended else _unknown(process_id)
        return process


def _open_io(process: BackgroundProcess, stdin: bytes, size: tuple[int, int] | None, *, end_input: bool) -> ProcessIO:
    if size is None:
        return Pipes(process.take_output, stdin, end_input=end_input)
    try:
        return Terminal(process.take_output, *size)
    except OSError as error:
        message = (
            f"no terminal could be opened ({error.strerror}): end a process that has one, or run without a terminal"
        )
        raise OperationError("RESOURCE_EXHAUSTED", "NO_TERMINAL", message, "terminal") from error


def _read_timeout(arguments: dict[str, Any]) -> float | None:
    value = arguments.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise invalid("timeout", "`timeout` must be above 0: leave it out for no limit", "INVALID_TIMEOUT")
    return float(value)


def _read_size(arguments: dict[str, Any]) -> tuple[int, int]:
    return _read_integer(arguments, "rows", _MAX_SIDE), _read_integer(arguments, "columns", _MAX_SIDE)


def _read_integer(arguments: dict[str, Any], name: str, maximum: int) -> int:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
        raise invalid(name, f"`{name}` must be a number from 1 to {maximum}")
    return value


def _unknown(process_id: str) -> OperationError:
    message = f"there is no process {process_id[:64]!r}: it never existed, or it ended long ago. List the processes"
    return OperationError("NOT_FOUND", "UNKNOWN_PROCESS", message, "process_id")
