"""Streams that survive a broken connection: the call is repeated with its request id, which attaches to the first run.

Nothing ever runs twice: a repeat carries the metadata `sandbox-attach-only`, with which an agent that does not know the
request id (it restarted, or never got the request) answers NOT_FOUND instead of running it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, NotSupported, SandboxUnavailable
from sandbox_client.transport.retry_policy import Patience
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from sandbox_client.sync.direct import StraightConnection
    from sandbox_client.transport.connection import Connection

ATTACH_ONLY: Final = (("sandbox-attach-only", "1"),)
"""Metadata of a repeat."""
_ENDS: Final = frozenset({"completed", "exited"})


class ExecutionLostError(SandboxUnavailable):
    """The agent that ran it restarted: what happened to it cannot be known. It is never run again by itself.

    Attributes:
        has_started: Whether it is known that it ran at all.
    """

    def __init__(self, *, has_started: bool) -> None:
        super().__init__(
            "the agent restarted while this ran, or never received it; it was not run again. "
            "Look at what it left behind before repeating it.",
            reason="EXECUTION_LOST",
        )
        self.has_started = has_started


class _Replay:
    """What was passed on already, so that a repeat passes on only the rest."""

    def __init__(self) -> None:
        self.is_complete = False
        self._output = 0
        self._last_output: Any = None
        self._catches_up = False
        self._others = 0
        self._others_now = 0

    @property
    def has_started(self) -> bool:
        """Whether anything was passed on."""
        return self._others > 0

    def begin(self) -> None:
        """A connection starts from the first event again."""
        self._others_now = 0
        if self._last_output is not None:
            self._output = self._last_output.offset + len(self._last_output.data)
            self._catches_up = True

    def fresh(self, events: Any) -> Iterator[Any]:
        """Those events that were not passed on yet; output that was so in part is cut."""
        for event in events:
            kind = event.WhichOneof("event")
            if kind == "output":
                # Reading `data` copies it: only a repeat has to look.
                if not self._catches_up or self._cut(event.output):
                    self._last_output = event.output
                    yield event
                continue
            self._others_now += 1
            if self._others_now > self._others:
                self._others = self._others_now
                self.is_complete = self.is_complete or kind in _ENDS
                yield event

    def _cut(self, output: Any) -> bool:
        overlap = self._output - output.offset
        if overlap >= len(output.data):
            return False
        if overlap > 0:
            output.data = output.data[overlap:]
            output.offset = self._output
        self._catches_up = False
        return True


async def attached_events(
    connection: Connection | StraightConnection,
    method: Callable[..., Any],
    request: Any,
    brief: Callable[..., Any] | None = None,
) -> AsyncGenerator[Any, None]:
    """Event messages of `Execute` or `Run`, each exactly once, over as many connections as it takes.

    Args:
        connection: Where to.
        method: The stub's method; its responses have `events`.
        request: Its message, with `request_id` set.
        brief: The method of the stub that answers with the first events only, which is all of a short cell.

    Raises:
        ExecutionLostError: The connection broke and the agent knows nothing of the request any more.
        SandboxUnavailable: It broke and did not come back within `Endpoint.returns_within`.
        SandboxError: As the call answered.
    """
    replay = _Replay()
    patience = Patience(connection.endpoint.returns_within)
    is_repeat = False
    with tracing.operation("sandbox.run") as span:
        if brief is not None and connection.is_brief:
            for event in replay.fresh(await _first_events(connection, brief, request, span, patience)):
                yield event
            # An agent that does not have the call has started nothing.
            is_repeat = connection.is_brief
        if not replay.is_complete:
            streamed = _streamed(connection, method, request, replay, span, patience, is_repeat=is_repeat)
            async with contextlib.aclosing(streamed) as events:
                async for event in events:
                    yield event


async def _streamed(
    connection: Connection | StraightConnection,
    method: Callable[..., Any],
    request: Any,
    replay: _Replay,
    span: tracing.Span,
    patience: Patience,
    *,
    is_repeat: bool,
) -> AsyncGenerator[Any, None]:
    while True:
        replay.begin()
        try:
            stream = connection.stream(method, request, metadata=ATTACH_ONLY if is_repeat else (), under=span)
            async with contextlib.aclosing(stream):
                async for response in stream:
                    for event in replay.fresh(response.events):
                        patience.renew()
                        yield event
            if replay.is_complete:
                return
            failure: SandboxUnavailable = SandboxUnavailable("the stream ended early", reason="STREAM_ENDED")
        except SandboxUnavailable as error:
            if replay.is_complete:
                raise
            failure = error
        except NotFound as error:
            if not is_repeat:
                raise
            raise ExecutionLostError(has_started=replay.has_started) from error
        pause = patience.pause(failure, may_run=is_repeat)
        is_repeat = True
        await connection.pause(pause)


async def _first_events(
    connection: Connection | StraightConnection,
    brief: Callable[..., Any],
    request: Any,
    span: tracing.Span,
    patience: Patience,
) -> Iterable[Any]:
    """What the brief call answers; nothing where the stream has to tell."""
    try:
        answered = await connection.unary(brief, request, repeatable=False, seconds=None, under=span)
        events: Iterable[Any] = answered.events
    except NotSupported:
        connection.is_brief = False
    except SandboxUnavailable as error:
        # The stream asks for it at once.
        patience.pause(error, may_run=False)
    else:
        return events
    return ()
