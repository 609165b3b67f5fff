"""From a call of the runtime into an execution's log, until the end whatever happens to client or link."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox_agent.executions.event_encoding import Wire
    from sandbox_agent.executions.event_log import EventLog
    from sandbox_link.protocol import Call, Data, Event

GRACE: Final = 120.0
"""Seconds beyond an execution's time limit that the runtime may take to end it: an overloaded machine is slow."""
_LOST: Final = frozenset({"RUNTIME_UNAVAILABLE", "OUTPUT_LIMIT"})
"""What a call ends with, though it may have started without anybody having read so."""

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
    *,
    limit: float,
) -> None:
    """Follow a call to its end. Once it has started, it is reported lost whatever goes wrong: it must not run again.

    Args:
        call: The operation, its input sent.
        log: Where events go.
        translator: Turns items into events.
        last: Makes the last event from the call's result.
        lost: Makes the events that end an execution whose link was lost.
        limit: Seconds that the runtime was told to let it run.

    Raises:
        OperationError: The operation never started.
    """
    try:
        while items := await _next(call, limit if translator.has_started else None):
            _append(log, translator.events(items))
            if not call.ended:
                await log.room()
        _append(log, [last(call.result)])
    except FrameError as error:
        call.break_off(str(error))
        _append(log, lost())
    except OperationError as error:
        if error.reason not in _LOST and not translator.has_started:
            raise
        _log.warning("an execution was lost", extra={"reason": error.reason})
        _append(log, lost())
    except Exception:  # noqa: BLE001 - a defect of ours must not have it run again; it is logged with its place
        _log.exception("an execution was lost: its events could not be handled")
        call.break_off("an event that could not be handled")
        _append(log, lost())


async def _next(call: Call, limit: float | None) -> list[Data | Event]:
    """The next items, within an execution's time limit: the runtime keeps it, or is not what it should be.

    The time counts from the last items, so that a slow client does not use it up.
    """
    try:
        async with asyncio.timeout(None if limit is None else limit + GRACE):
            return await call.batch()
    except TimeoutError as error:
        raise FrameError(f"an execution went on {GRACE:g} s beyond its time limit in silence") from error


def _append(log: EventLog[W], events: Iterable[W]) -> None:
    for event in events:
        log.append(event, len(event.data))
