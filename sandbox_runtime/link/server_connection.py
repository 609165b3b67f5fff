"""The runtime's end of the link: one agent at a time, frames to operations and back.

An error of an operation ends its channel. A violation of the framing ends the connection.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frame_socket import FrameSocket
from sandbox_link.frames import Frame, FrameError, FrameType, encode_json
from sandbox_link.protocol import OperationError
from sandbox_runtime.link.channel import LinkChannel
from sandbox_runtime.link.listeners import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from sandbox_runtime.link.listeners import BulkStreams

    Handler = Callable[[Any], Awaitable[dict[str, Any]]]

_MAX_CHANNELS: Final = 4096


class LinkServer:
    """Accepts agents, and keeps the connection of the current one.

    Args:
        hello: Builds the hello event.
        bulk_streams: Sockets for large files. None sends everything in frames.

    Attributes:
        handlers: Operation to a coroutine function that takes the channel and returns the result.
        starters: Operation to a function that takes the channel and ends it later. Executions use this, because a task
            costs time.
        lasting: Operations that continue to their end when the connection is lost. Others are cancelled.
    """

    def __init__(self, hello: Callable[[], dict[str, Any]], bulk_streams: BulkStreams | None = None) -> None:
        self.hello = hello
        self.bulk_streams = bulk_streams
        self.handlers: Mapping[str, Handler] = {}
        self.starters: Mapping[str, Callable[[LinkChannel], None]] = {}
        self.lasting: frozenset[str] = frozenset()
        self._current: ServerConnection | None = None
        self._alone = asyncio.Event()
        self._alone.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep a reference to a task, because the loop keeps none and lasting ones outlive their connection."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def listen(self, path: Path) -> Callable[[], None]:
        """Start to listen at a path. Each new connection replaces the one before.

        Returns:
            A function that stops listening.
        """
        return listen(path, self._accept)

    def _accept(self, sock: socket.socket) -> None:
        self.replace(ServerConnection(self, sock))

    def replace(self, connection: ServerConnection | None) -> None:
        """Make a connection the current one, and close the one before."""
        previous, self._current = self._current, connection
        if connection is None:
            self._alone.set()
        else:
            self._alone.clear()
        if previous is not None and previous is not connection:
            previous.close()

    def forget(self, connection: ServerConnection) -> None:
        """Forget a connection that has ended."""
        if self._current is connection:
            self._current = None
            self._alone.set()

    async def wait_alone(self) -> None:
        """Wait until no agent is connected."""
        await self._alone.wait()

    def notify(self, event: dict[str, Any]) -> None:
        """Send an event on channel 0, if an agent is connected."""
        if self._current is not None:
            self._current.transmit(encode_json(FrameType.EVENT, 0, event))

    def hold(self) -> None:
        """Hold back frames until `flush`, which must follow in this round of the loop."""
        if self._current is not None:
            self._current.hold()

    def flush(self) -> None:
        """Send the queue now, instead of in the loop's next round."""
        if self._current is not None:
            self._current.flush()


class ServerConnection:
    """The connection of one agent. Its first frame is the hello."""

    def __init__(self, server: LinkServer, sock: socket.socket) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._channels: dict[int, LinkChannel] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._scheduled = False
        self._held = False
        self._frames = FrameSocket(sock, self, self._on_end)
        self._frames.send(encode_json(FrameType.EVENT, 0, server.hello()))

    def close(self) -> None:
        """End the connection."""
        self._frames.close()
        self._on_end("closed")

    def transmit(self, frame: bytes | memoryview) -> None:
        """Queue a frame or a piece of one. `flush` sends it, in the loop's next round at the latest."""
        self._frames.write(frame)
        if not self._scheduled and not self._held:
            self._scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def hold(self) -> None:
        """Stop scheduling flushes, because the caller will call `flush`."""
        self._held = True

    def flush(self) -> None:
        """Send the queue."""
        self._held = False
        self._frames.flush()

    # The answers to all frames of one read leave together.
    on_read, on_round = hold, flush

    def on_frame(self, frame: Frame) -> None:
        """Handle a frame of the agent."""
        if frame.type is FrameType.OPEN:
            self._open(frame)
            return
        channel = self._channels.get(frame.channel)
        if channel is None:
            return
        if frame.type is FrameType.DATA:
            channel.feed(frame.body)
        elif frame.type is FrameType.WINDOW:
            channel.grant(frame.window())
        elif frame.type is FrameType.CLOSE:
            channel.end_input()
        elif frame.type is FrameType.CANCEL:
            if channel.on_cancel is not None:
                channel.on_cancel()
            elif (task := self._tasks.get(frame.channel)) is not None:
                # In the next round: a task that is cancelled before its first step would end without a CLOSE.
                self._loop.call_soon(task.cancel)

    def _on_end(self, _reason: str) -> None:
        """Detach lasting operations and cancel the others."""
        self._server.forget(self)
        for number, channel in list(self._channels.items()):
            channel.detach()
            task = self._tasks.get(number)
            if task is not None and channel.arguments.get("op") not in self._server.lasting:
                task.cancel()
        self._channels.clear()

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def _open(self, frame: Frame) -> None:
        arguments = frame.json()
        if frame.channel == 0 or frame.channel in self._channels or len(self._channels) >= _MAX_CHANNELS:
            raise FrameError("channel number in use, or too many channels")
        channel = LinkChannel(frame.channel, arguments, self.transmit, self._server.bulk_streams)
        channel.on_end = self._release
        self._channels[frame.channel] = channel
        operation = str(arguments.get("op", ""))
        if (start := self._server.starters.get(operation)) is not None:
            try:
                start(channel)
            except OperationError as error:
                channel.fail(error)
            except Exception as error:  # noqa: BLE001 - one operation must not end the connection
                channel.fail(_internal(error))
        elif (handler := self._server.handlers.get(operation)) is not None:
            task = self._loop.create_task(self._run(handler, channel))
            self._tasks[frame.channel] = task
            self._server.keep(task)
        else:
            channel.fail(OperationError("UNIMPLEMENTED", "NOT_IMPLEMENTED", f"unknown operation `{operation[:64]}`"))

    async def _run(self, handler: Handler, channel: LinkChannel) -> None:
        outcome: dict[str, Any] | OperationError
        try:
            outcome = await handler(channel)
        except OperationError as error:
            outcome = error
        except asyncio.CancelledError:
            outcome = OperationError("CANCELLED", "CANCELLED", "the operation was cancelled")
        except Exception as error:  # noqa: BLE001 - one operation must not end the runtime
            outcome = _internal(error)
        self._tasks.pop(channel.number, None)
        if isinstance(outcome, OperationError):
            channel.fail(outcome)
        else:
            channel.finish(outcome)

    def _release(self, channel: LinkChannel) -> None:
        """Forget a channel whose CLOSE has been sent."""
        self._channels.pop(channel.number, None)


def _internal(error: Exception) -> OperationError:
    """Log the error being handled, and return the error that ends its operation."""
    traceback.print_exc(file=sys.stderr)
    return OperationError("INTERNAL", "INTERNAL", f"{type(error).__name__}: {error}")
