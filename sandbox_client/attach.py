"""Streams that survive a broken connection: the call is repeated with its request id, which attaches to the first run.

Nothing ever runs twice: a repeat carries the metadata `sandbox-attach-only`, with which an agent that does not know the
request id (it restarted, or never got the request) answers NOT_FOUND instead of running it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from sandbox_client.connection import Connection

ATTACH_ONLY: Final = (("sandbox-attach-only", "1"),)
"""Metadata of a repeat."""
_ATTEMPTS: Final = 5
_PAUSE: Final = 0.2
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
        self._others = 0
        self._others_now = 0

    @property
    def has_started(self) -> bool:
        """Whether anything was passed on."""
        return self._others > 0

    def begin(self) -> None:
        """A connection starts from the first event again."""
        self._others_now = 0

    def fresh(self, events: Any) -> Iterator[Any]:
        """Those events that were not passed on yet; output that was so in part is cut."""
        for event in events:
            kind = event.WhichOneof("event")
            if kind == "output":
                if self._cut(event.output):
                    yield event
                continue
            self._others_now += 1
            if self._others_now > self._others:
                self._others = self._others_now
                self.is_complete = self.is_complete or kind in _ENDS
                yield event

    def _cut(self, output: Any) -> bool:
        overlap = self._output - output.offset
        end = output.offset + len(output.data)
        if end <= self._output:
            return False
        if overlap > 0:
            output.data = output.data[overlap:]
            output.offset = self._output
        self._output = end
        return True


async def attached_events(
    connection: Connection, method: Callable[..., Any], request: Any
) -> AsyncGenerator[Any, None]:
    """Event messages of `Execute` or `Run`, each exactly once, over as many connections as it takes.

    Args:
        connection: Where to.
        method: The stub's method; its responses have `events`.
        request: Its message, with `request_id` set.

    Raises:
        ExecutionLostError: The connection broke and the agent knows nothing of the request any more.
        SandboxUnavailable: It broke and did not come back.
        SandboxError: As the call answered.
    """
    replay = _Replay()
    for attempt in range(1, _ATTEMPTS + 1):
        is_repeat = attempt > 1
        replay.begin()
        try:
            stream = connection.stream(method, request, metadata=ATTACH_ONLY if is_repeat else ())
            async with contextlib.aclosing(stream):
                async for response in stream:
                    for event in replay.fresh(response.events):
                        yield event
            if replay.is_complete:
                return
            failure: SandboxUnavailable = SandboxUnavailable("the stream ended early", reason="STREAM_ENDED")
        except SandboxUnavailable as error:
            # The runtime is gone, and the agent says so itself: there is nothing to attach to.
            if error.reason in {"RUNTIME_UNAVAILABLE", "UNREACHABLE"} or replay.is_complete:
                raise
            failure = error
        except NotFound as error:
            if not is_repeat:
                raise
            raise ExecutionLostError(has_started=replay.has_started) from error
        if attempt == _ATTEMPTS:
            raise failure
        await asyncio.sleep(_PAUSE * attempt)
