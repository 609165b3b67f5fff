"""Streams the events of a cell or command across broken connections.

When a connection breaks, the call is repeated with its request id, which attaches to the first run. Nothing runs twice:
each repeat carries the metadata `sandbox-attach-only`. An agent that does not know the request id, because it restarted
or never received the request, then answers NOT_FOUND instead of running it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, NotSupported, SandboxUnavailable
from sandbox_client.transport.retry_policy import ReattachPolicy
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from sandbox_client.transport.base_connection import BaseConnection

ATTACH_ONLY: Final = (("sandbox-attach-only", "1"),)
"""Metadata of a repeat."""
_ENDS: Final = frozenset({"completed", "exited"})


class ExecutionLostError(SandboxUnavailable):
    """The agent restarted, so the fate of a cell or command is unknown. The SDK does not run it again.

    Attributes:
        has_started: Whether it certainly started.
    """

    def __init__(self, *, has_started: bool) -> None:
        super().__init__(
            "the agent restarted while this ran, or never received it; it was not run again. "
            "Check what it has done before you repeat it.",
            reason="EXECUTION_LOST",
        )
        self.has_started = has_started


class _Replay:
    """Filters the events of a repeat, which begins with the first event again, down to those not passed on yet."""

    def __init__(self) -> None:
        self.is_complete = False
        self._output_end = 0
        self._last_output: Any = None
        self._is_catching_up = False
        self._events_passed = 0
        self._events_seen = 0

    @property
    def has_started(self) -> bool:
        """True if any event other than output was passed on."""
        return self._events_passed > 0

    def begin(self) -> None:
        """Prepare for a connection that begins with the first event again."""
        self._events_seen = 0
        if self._last_output is not None:
            self._output_end = self._last_output.offset + len(self._last_output.data)
            self._is_catching_up = True

    def new_events(self, events: Any) -> Iterator[Any]:
        """Yield the events that were not passed on yet. Cut output that was passed on in part."""
        for event in events:
            kind = event.WhichOneof("event")
            if kind == "output":
                # Reading `data` copies it, so only a repeat does.
                if not self._is_catching_up or self._cut(event.output):
                    self._last_output = event.output
                    yield event
                continue
            self._events_seen += 1
            if self._events_seen > self._events_passed:
                self._events_passed = self._events_seen
                self.is_complete = self.is_complete or kind in _ENDS
                yield event

    def _cut(self, output: Any) -> bool:
        """Remove what was passed on already. Return whether anything is left."""
        overlap = self._output_end - output.offset
        if overlap >= len(output.data):
            return False
        if overlap > 0:
            output.data = output.data[overlap:]
            output.offset = self._output_end
        self._is_catching_up = False
        return True


async def reattaching_events(
    connection: BaseConnection,
    method: Callable[..., Any],
    request: Any,
    brief: Callable[..., Any] | None = None,
) -> AsyncGenerator[Any, None]:
    """Yield the event messages of `Execute` or `Run`, each exactly once, over as many connections as necessary.

    Args:
        connection: The connection to the agent.
        method: The stub's method; its responses have `events`.
        request: Its message, with `request_id` set.
        brief: The stub's method that returns only the first events, which for a short cell are all of them.

    Raises:
        ExecutionLostError: The connection broke, and the agent no longer knows the request.
        SandboxUnavailable: The connection broke and did not come back within `Endpoint.returns_within`.
        SandboxError: The agent's error.
    """
    replay = _Replay()
    policy = ReattachPolicy(connection.endpoint.returns_within)
    is_repeat = False
    with tracing.operation("sandbox.run") as span:
        if brief is not None and connection.has_brief_call:
            for event in replay.new_events(await _first_events(connection, brief, request, span, policy)):
                yield event
            # An agent without this call has not started anything.
            is_repeat = connection.has_brief_call
        if not replay.is_complete:
            streamed = _streamed_events(connection, method, request, replay, span, policy, is_repeat=is_repeat)
            async with contextlib.aclosing(streamed) as events:
                async for event in events:
                    yield event


async def _streamed_events(
    connection: BaseConnection,
    method: Callable[..., Any],
    request: Any,
    replay: _Replay,
    span: tracing.Span,
    policy: ReattachPolicy,
    *,
    is_repeat: bool,
) -> AsyncGenerator[Any, None]:
    while True:
        replay.begin()
        try:
            stream = connection.stream(method, request, metadata=ATTACH_ONLY if is_repeat else (), under=span)
            async with contextlib.aclosing(stream):
                async for response in stream:
                    for event in replay.new_events(response.events):
                        policy.reset()
                        yield event
            if replay.is_complete:
                return
            failure: SandboxUnavailable = SandboxUnavailable(
                "the connection ended before the result came: try again", reason="STREAM_ENDED"
            )
        except SandboxUnavailable as error:
            if replay.is_complete:
                raise
            failure = error
        except NotFound as error:
            if not is_repeat:
                raise
            raise ExecutionLostError(has_started=replay.has_started) from error
        delay = policy.delay(failure, may_run=is_repeat)
        is_repeat = True
        await connection.sleep(delay)


async def _first_events(
    connection: BaseConnection,
    brief: Callable[..., Any],
    request: Any,
    span: tracing.Span,
    policy: ReattachPolicy,
) -> Iterable[Any]:
    """Return the events of the brief call. If it fails, return none and let the stream deliver them."""
    try:
        response = await connection.unary(brief, request, repeatable=False, seconds=None, under=span)
        events: Iterable[Any] = response.events
    except NotSupported:
        connection.has_brief_call = False
    except SandboxUnavailable as error:
        # Raises the error if it is final. The stream follows without a delay.
        policy.delay(error, may_run=False)
    else:
        return events
    return ()
