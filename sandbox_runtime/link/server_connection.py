"""The link's listening side: one agent at a time, frames to operations and back.

Errors of an operation end its channel; a violation of the framing ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
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

    from sandbox_runtime.link.streams import Streams

    Handler = Callable[[Any], Awaitable[dict[str, Any]]]

_MAX_CHANNELS: Final = 4096


class Link:
    """Accepts agents, and knows the one that is connected.

    Args:
        handlers: Operation to coroutine function; cancelled when the connection is lost, unless named in `lasting`.
        starters: Operation to a function that takes the channel and goes on by itself (executions: a task costs time).
        hello: Makes the hello event.
        lasting: Operations that go on to their end when the connection is lost.
        streams: Where the agent dials for large files; None: everything goes in frames.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        starters: Mapping[str, Callable[[LinkChannel], None]],
        hello: Callable[[], dict[str, Any]],
        lasting: frozenset[str],
        streams: Streams | None = None,
    ) -> None:
        self.handlers = handlers
        self.starters = starters
        self.hello = hello
        self.lasting = lasting
        self.streams = streams
        self._current: LinkConnection | None = None
        self._alone = asyncio.Event()
        self._alone.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task: the loop does not, and what lasts outlives its connection."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def listen(self, path: Path) -> Callable[[], None]:
        """Listen there from now on; each new connection replaces the one before.

        Returns:
            Stops listening.
        """
        return listen(path, self._accept)

    def _accept(self, sock: socket.socket) -> None:
        self.replace(LinkConnection(self, sock))

    def replace(self, connection: LinkConnection | None) -> None:
        """Make a connection the current one, and end the one before."""
        previous, self._current = self._current, connection
        if connection is None:
            self._alone.set()
        else:
            self._alone.clear()
        if previous is not None and previous is not connection:
            previous.close()

    def forget(self, connection: LinkConnection) -> None:
        """A connection ended."""
        if self._current is connection:
            self._current = None
            self._alone.set()

    async def wait_alone(self) -> None:
        """Wait until no agent is connected."""
        await self._alone.wait()

    def announce(self, event: dict[str, Any]) -> None:
        """Send an event on channel 0 to the agent that is connected, if any."""
        if self._current is not None:
            self._current.transmit(encode_json(FrameType.EVENT, 0, event))

    def hold(self) -> None:
        """`flush` follows within this round of the loop."""
        if self._current is not None:
            self._current.hold()

    def flush(self) -> None:
        """Send now what is queued, instead of in the loop's next round."""
        if self._current is not None:
            self._current.flush()


class LinkConnection:
    """One agent, who is greeted at once."""

    def __init__(self, link: Link, sock: socket.socket) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._channels: dict[int, LinkChannel] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._scheduled = False
        self._held = False
        self._frames = FrameSocket(sock, self, self._on_end)
        self._frames.send(encode_json(FrameType.EVENT, 0, self._link.hello()))

    def on_read(self) -> None:
        """Hold what the frames of this read lead to."""
        self._held = True

    def on_frame(self, frame: Frame) -> None:
        """Handle a frame."""
        self._dispatch(frame)

    def on_round(self) -> None:
        """Send what they led to."""
        self.flush()

    def _on_end(self, _reason: str) -> None:
        """Detach what goes on, cancel the rest."""
        self._link.forget(self)
        for number, channel in list(self._channels.items()):
            channel.detach()
            task = self._tasks.get(number)
            if task is not None and channel.arguments.get("op") not in self._link.lasting:
                task.cancel()
        self._channels.clear()

    def close(self) -> None:
        """End the connection."""
        self._frames.close()
        self._on_end("closed")

    def transmit(self, frame: bytes | memoryview) -> None:
        """Queue a frame or a piece of one; it is sent by `flush`, in the loop's next round at the latest."""
        self._frames.write(frame)
        if not self._scheduled and not self._held:
            self._scheduled = True
            self._loop.call_soon(self._flush_scheduled)

    def hold(self) -> None:
        """Schedule nothing: `flush` will be called."""
        self._held = True

    def flush(self) -> None:
        """Send what is queued."""
        self._held = False
        self._frames.flush()

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def _dispatch(self, frame: Frame) -> None:
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
        elif frame.type is FrameType.CANCEL and (task := self._tasks.get(frame.channel)) is not None:
            # Not before its first step, where it came together with its OPEN: it would end without a CLOSE.
            self._loop.call_soon(task.cancel)

    def _open(self, frame: Frame) -> None:
        arguments = frame.json()
        if frame.channel == 0 or frame.channel in self._channels or len(self._channels) >= _MAX_CHANNELS:
            raise FrameError("channel number in use, or too many channels")
        channel = LinkChannel(frame.channel, arguments, self.transmit, self._link.streams)
        self._channels[frame.channel] = channel
        operation = str(arguments.get("op", ""))
        if (start := self._link.starters.get(operation)) is not None:
            self._start(start, channel)
        elif (handler := self._link.handlers.get(operation)) is not None:
            task = self._loop.create_task(self._run(handler, channel))
            self._tasks[frame.channel] = task
            self._link.keep(task)
        else:
            self.end(
                channel, OperationError("UNIMPLEMENTED", "NOT_IMPLEMENTED", f"unknown operation `{operation[:64]}`")
            )

    def _start(self, start: Callable[[LinkChannel], None], channel: LinkChannel) -> None:
        channel.on_end = self.release
        try:
            start(channel)
        except OperationError as error:
            self.end(channel, error)
        except Exception as error:  # noqa: BLE001 - one operation must not take the connection with it
            self.end(channel, _internal(error))

    async def _run(self, handler: Handler, channel: LinkChannel) -> None:
        outcome: dict[str, Any] | OperationError
        try:
            outcome = await handler(channel)
        except OperationError as error:
            outcome = error
        except asyncio.CancelledError:
            outcome = OperationError("CANCELLED", "CANCELLED", "the operation was cancelled")
        except Exception as error:  # noqa: BLE001 - one operation must not take the runtime with it
            outcome = _internal(error)
        self._tasks.pop(channel.number, None)
        self.end(channel, outcome)

    def end(self, channel: LinkChannel, outcome: dict[str, Any] | OperationError) -> None:
        """Send an operation's outcome and forget its channel once that is under way."""
        channel.on_end = self.release
        if isinstance(outcome, OperationError):
            channel.fail(outcome)
        else:
            channel.finish(outcome)

    def release(self, channel: LinkChannel) -> None:
        """A channel's CLOSE has been sent."""
        with contextlib.suppress(KeyError):
            del self._channels[channel.number]


def _internal(error: Exception) -> OperationError:
    """What an operation ends with that failed unexpectedly; called where the error is handled."""
    traceback.print_exc(file=sys.stderr)
    return OperationError("INTERNAL", "INTERNAL", f"{type(error).__name__}: {error}")
