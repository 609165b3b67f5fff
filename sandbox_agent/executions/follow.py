"""Copies the runtime's output into an execution's log, even if the client disconnects or the link breaks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox_agent.executions.event_encoding import EncodedEvent
    from sandbox_agent.executions.event_log import EventLog
    from sandbox_link.protocol import Call, Data, Event

GRACE: Final = 120.0
"""Seconds beyond an execution's time limit that the runtime gets to end it, because an overloaded machine is slow."""
_LOST_REASONS: Final = frozenset({"RUNTIME_UNAVAILABLE", "OUTPUT_LIMIT"})
"""Reasons for the end of a call that may have started although the agent received no event."""

_log = logging.getLogger(__name__)

E = TypeVar("E", bound="EncodedEvent[Any]")
E_co = TypeVar("E_co", bound="EncodedEvent[Any]", covariant=True)


class Translator(Protocol[E_co]):
    """The common interface of CellTranslator and CommandTranslator."""

    has_started: bool

    def translate(self, items: Iterable[Data | Event]) -> Iterable[E_co]:
        """Yield the events for items that arrived together."""
        ...

    def finish(self, result: dict[str, Any]) -> E_co:
        """Return the last event, from the call's `ok` object."""
        ...

    def lose(self) -> Iterable[E_co]:
        """Yield the events that end an execution whose link was lost."""
        ...


async def follow_call(call: Call, log: EventLog[E], translator: Translator[E], limit: float) -> None:
    """Follow a call to its end. After its start, report it as lost if anything fails: it must not run again.

    Args:
        call: The operation, with its input already sent.
        log: Log that receives the events.
        translator: Turns the runtime's items into events.
        limit: Time limit of the execution in seconds, as passed to the runtime.

    Raises:
        OperationError: The operation never started.
    """
    try:
        while items := await _next_batch(call, limit if translator.has_started else None):
            _append(log, translator.translate(items))
            if not call.ended:
                await log.wait_for_room()
        _append(log, [translator.finish(call.result)])
    except FrameError as error:
        call.break_off(str(error))
        _append(log, translator.lose())
    except OperationError as error:
        if error.reason not in _LOST_REASONS and not translator.has_started:
            raise
        _log.warning("an execution was lost", extra={"reason": error.reason})
        _append(log, translator.lose())
    except Exception:  # noqa: BLE001 - a bug of the agent must not make it run again; the log has the traceback
        _log.exception("an execution was lost: its events could not be handled")
        call.break_off("an event could not be handled")
        _append(log, translator.lose())


async def _next_batch(call: Call, limit: float | None) -> list[Data | Event]:
    """Return the next items. Fails if the runtime does not enforce the execution's time limit.

    The time is measured from the previous items, so that a slow client does not use it up.
    """
    try:
        async with asyncio.timeout(None if limit is None else limit + GRACE):
            return await call.batch()
    except TimeoutError as error:
        raise FrameError(f"no event of an execution within {GRACE:g} s after its time limit") from error


def _append(log: EventLog[E], events: Iterable[E]) -> None:
    for event in events:
        log.append(event, len(event.data))
