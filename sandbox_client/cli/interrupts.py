"""Ctrl-C for a command that runs elsewhere: it is interrupted there, then killed, then left alone."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.errors import FailedPrecondition, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

_ESCALATION: Final = ("INT", "KILL")


class Interrupts:
    """While it is entered, Ctrl-C is passed on once there is something to pass it to; the third one ends this program.

    Outside the main thread, where Python hands out no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._send: Callable[[str], object] | None = None
        self._count = 0
        self._previous: Any = None
        self._is_main = threading.current_thread() is threading.main_thread()

    def pass_to(self, send: Callable[[str], object]) -> None:
        """Call this with the name of a signal at each Ctrl-C."""
        self._send = send

    def __enter__(self) -> Self:
        if self._is_main:
            self._previous = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_main:
            signal.signal(signal.SIGINT, self._previous)

    def _on_interrupt(self, _number: int, _frame: object) -> None:
        if self._send is None or self._count >= len(_ESCALATION):
            raise KeyboardInterrupt
        name = _ESCALATION[self._count]
        self._count += 1
        # It ended on its own meanwhile: its end is on its way.
        with contextlib.suppress(FailedPrecondition, NotFound):
            self._send(name)
