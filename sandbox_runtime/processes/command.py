"""The `run` operation: a command with its output, deadline and end. Its process leads a session of its own."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Stream
from sandbox_runtime.execution.output_limit import OutputLimit
from sandbox_runtime.interpreters.output_reader import OutputPipe
from sandbox_runtime.linux.process_tree import kill_tree
from sandbox_runtime.processes.start import Command, Starter, open_input, read_id, wait_for_end
from sandbox_runtime.processes.stdio import ProcessInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_runtime.interpreters.zygote_client import Child
    from sandbox_runtime.link.channel import LinkChannel

_END_AFTER_KILL: Final = 2.0


class Commands:
    """Runs commands.

    Attributes:
        running: The running commands, by the agent's `process_id`, or `pid-N` if the agent gave none.
        inputs: The standard inputs that stay open for `process.input`, by `process_id`.
    """

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self.running: dict[str, Child] = {}
        self.inputs: dict[str, ProcessInput] = {}

    async def run(self, channel: LinkChannel) -> dict[str, Any]:
        """Run a command to its end.

        Raises:
            OperationError: An argument is not valid (its field is named), or the program does not exist.
        """
        arguments = channel.arguments
        timeout = self._starter.state.read_timeout(arguments.get("timeout"))
        name = read_id(arguments) if arguments.get("process_id") else ""
        command = await self._starter.read(channel)
        loop = asyncio.get_running_loop()
        started = loop.time()
        output = _Output(channel, self._starter.state.limits.output_bytes)
        keeps_input = arguments.get("input") is True
        child, process_input = await self._start(command, output, keeps_input=keeps_input)
        name = name or f"pid-{child.pid}"
        if process_input is not None:
            self.inputs[name] = process_input
        self.running[name] = child
        timed_out = False
        try:
            channel.send_event({"type": "started", "pid": child.pid})
            # Only now: a fast command may have written before its `started`.
            output.resume()
            timed_out = not await wait_for_end(child, timeout)
            if timed_out:
                output.release()
                await kill_tree(child.tree, child.pid)
                await wait_for_end(child, _END_AFTER_KILL)
        except asyncio.CancelledError:
            await kill_tree(child.tree, child.pid)
            raise
        finally:
            self.running.pop(name, None)
            if process_input is not None:
                del self.inputs[name]
                process_input.close()
            output.end()
        result = self._starter.describe(child, timed_out=timed_out)
        return {**result, "duration": loop.time() - started, "dropped_bytes": output.dropped}

    async def close(self) -> None:
        """Kill every running command."""
        await asyncio.gather(*(kill_tree(child.tree, child.pid) for child in self.running.values()))

    async def _start(
        self, command: Command, output: _Output, *, keeps_input: bool
    ) -> tuple[Child, ProcessInput | None]:
        process_input = None
        if keeps_input:
            source, write = os.pipe2(os.O_CLOEXEC)
            process_input = ProcessInput(write)
        else:
            source = open_input(command.stdin)
        try:
            child = await self._starter.start(command, [source, *output.descriptors()])
            if process_input is not None and command.stdin:
                await process_input.write(command.stdin, end=False)
        except BaseException:
            output.end()
            if process_input is not None:
                process_input.close()
            raise
        finally:
            os.close(source)
            output.close_writes()
        return child, process_input


class _Output:
    """Both output pipes of a command, under the output limit, paused while the agent does not read."""

    def __init__(self, channel: LinkChannel, limit: int) -> None:
        self._channel = channel
        self._limit = OutputLimit(limit)
        self._ignores_backpressure = False
        self._pipes = [OutputPipe(self._receiver(stream), is_paused=True) for stream in (Stream.STDOUT, Stream.STDERR)]
        channel.on_writable = self.resume

    @property
    def dropped(self) -> int:
        return self._limit.dropped

    def descriptors(self) -> Sequence[int]:
        return [pipe.write_fd for pipe in self._pipes]

    def close_writes(self) -> None:
        for pipe in self._pipes:
            pipe.close_write()

    def release(self) -> None:
        """Stop waiting for the agent, because the deadline has passed. The limit bounds the output that is kept."""
        self._ignores_backpressure = True
        self.resume()

    def end(self) -> None:
        """Send the available output and discard the rest: a background child may keep the pipes open for long."""
        for pipe in self._pipes:
            pipe.drain()
            pipe.discard()
        for stream, data in self._limit.take_tail():
            self._channel.write(stream, data)

    def _receiver(self, stream: Stream) -> Any:
        def receive(data: bytes) -> None:
            self._channel.write(stream, self._limit.admit(stream, memoryview(data)))
            if self._channel.is_blocked and not self._ignores_backpressure:
                for pipe in self._pipes:
                    pipe.pause()

        return receive

    def resume(self) -> None:
        """Start or continue reading."""
        for pipe in self._pipes:
            pipe.resume()
