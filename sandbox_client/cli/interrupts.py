"""Passes Ctrl-C on to a remote command: the first interrupts it, the second kills it, the third ends this program."""

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
    """Context manager that passes Ctrl-C on, once `pass_to` was called. The third Ctrl-C ends this program.

    Outside the main thread it does nothing, because Python delivers signals only to the main thread.
    """

    def __init__(self) -> None:
        self._send: Callable[[str], object] | None = None
        self._count = 0
        self._previous: Any = None
        self._is_main = threading.current_thread() is threading.main_thread()

    def pass_to(self, send: Callable[[str], object]) -> None:
        """Set the function that is called with the name of a signal at each Ctrl-C."""
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
        # The command may have ended meanwhile. Its result is then about to arrive.
        with contextlib.suppress(FailedPrecondition, NotFound):
            self._send(name)
