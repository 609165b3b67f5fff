"""From a call of the runtime into an execution's log, until the end whatever happens to client or link."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sandbox_agent.link.calls import OperationError
from sandbox_agent.link.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox_agent.event_log import EventLog
    from sandbox_agent.link.calls import Call, Data, Event
    from sandbox_agent.wire import Wire

_log = logging.getLogger(__name__)

W = TypeVar("W", bound="Wire[Any]")
W_co = TypeVar("W_co", bound="Wire[Any]", covariant=True)


class Translator(Protocol[W_co]):
    """What CellTranslator and CommandTranslator have in common."""

    has_started: bool

    def events(self, items: Iterable[Data | Event]) -> Iterable[W_co]:
        """Events of what arrived together."""
        ...


async def pump(
    call: Call,
    log: EventLog[W],
    translator: Translator[W],
    last: Callable[[dict[str, Any]], W],
    lost: Callable[[], Iterable[W]],
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


def _append(log: EventLog[W], events: Iterable[W]) -> None:
    for event in events:
        log.append(event, len(event.data))
