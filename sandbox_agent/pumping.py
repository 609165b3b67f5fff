"""From a call of the runtime into an execution's log, until the end whatever happens to client or link."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sandbox_agent.link.calls import OperationError
from sandbox_agent.link.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

    from sandbox_agent.event_log import EventLog
    from sandbox_agent.link.calls import Call, Data, Event

_log = logging.getLogger(__name__)

M = TypeVar("M", bound="Message")
M_co = TypeVar("M_co", bound="Message", covariant=True)


class Translator(Protocol[M_co]):
    """What CellTranslator and CommandTranslator have in common."""

    has_started: bool

    def events(self, items: Iterable[Data | Event]) -> Iterable[M_co]:
        """Events of what arrived together."""
        ...


async def pump(
    call: Call,
    log: EventLog[M],
    translator: Translator[M],
    last: Callable[[dict[str, Any]], M],
    lost: Callable[[], Iterable[M]],
) -> None:
    """Follow a call to its end.

    Args:
        call: The operation, its input sent.
        log: Where events go.
        translator: Turns items into events.
        last: Makes the last event from the call's result.
        lost: Makes the events that end an execution whose link was lost.

    Raises:
        OperationError: The operation never started.
    """
    try:
        while items := await call.batch():
            _append(log, translator.events(items))
            if not call.ended:
                await log.room()
        _append(log, [last(call.result)])
    except FrameError as error:
        call.break_off(str(error))
        _append(log, lost())
    except OperationError as error:
        if error.reason != "RUNTIME_UNAVAILABLE" and not translator.has_started:
            raise
        _log.warning("an execution was lost", extra={"reason": error.reason})
        _append(log, lost())


def _append(log: EventLog[M], events: Iterable[M]) -> None:
    for event in events:
        log.append(event, event.ByteSize())
