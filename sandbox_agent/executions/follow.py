"""Copies the runtime's output into an execution's log, even if the client disconnects or the link breaks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox_agent.executions.event_encoding import EncodedEvent
    from sandbox_agent.executions.event_log import EventLog
    from sandbox_link.protocol import Call, Data, Event

GRACE: Final = 120.0
"""Seconds beyond a time limit that the runtime gets, because an overloaded machine is slow."""
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


class TimeLimits(NamedTuple):
    """Seconds that the runtime may take. It gets GRACE in addition.

    Attributes:
        start: Until the start. What another agent of the session started may still be running.
        execution: From the start to the end, as passed to the runtime.
    """

    start: float
    execution: float


async def follow_call(
    call: Call, log: EventLog[E], translator: Translator[E], limits: TimeLimits, waits_for_others: Callable[[], bool]
) -> None:
    """Follow a call to its end. After its start, report it as lost if anything fails: it must not run again.

    Args:
        call: The operation, with its input already sent.
        log: Log that receives the events.
        translator: Turns the runtime's items into events.
        limits: How long the runtime may take.
        waits_for_others: Returns whether the execution may be waiting for the end of another one.

    Raises:
        OperationError: The operation never started.
    """
    try:
        items = await _first_batch(call, limits.start + GRACE, waits_for_others)
        time_left = _TimeLeft(limits.execution + GRACE)
        while items:
            _append(log, translator.translate(items))
            if not call.ended:
                await log.wait_for_room()
            items = await time_left.next_batch(call)
        _append(log, [translator.finish(call.result)])
    except TimeoutError as error:
        # It waits for what an earlier agent began, or the machine is slow. Others on the link go on.
        _log.warning("an execution was lost", extra={"error": str(error)})
        call.discard()
        _append(log, translator.lose())
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


class _TimeLeft:
    """Time that is left to an execution that has started. Output does not extend it.

    Only waiting for the runtime counts, so that a slow client does not use the time up.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    async def next_batch(self, call: Call) -> list[Data | Event]:
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            async with asyncio.timeout(self._left):
                return await call.batch()
        except TimeoutError as error:
            raise FrameError(f"an execution did not end within {GRACE:g} s after its time limit") from error
        finally:
            self._left -= clock() - start


async def _first_batch(call: Call, seconds: float, waits_for_others: Callable[[], bool]) -> list[Data | Event]:
    """Return the first items. Fails if the execution does not start although it waits for no other."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                return await call.batch()
        except TimeoutError as error:
            if not waits_for_others():
                raise TimeoutError(f"an execution did not start within {seconds:g} s") from error


def _append(log: EventLog[E], events: Iterable[E]) -> None:
    for event in events:
        log.append(event, len(event.data))
