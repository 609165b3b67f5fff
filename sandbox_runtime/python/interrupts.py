"""Turns SIGINT into a KeyboardInterrupt in the running cell, and nowhere else.

The handler inspects the interrupted stack. Inside a function that must not be cut short it only remembers the signal,
and `retry` delivers it a little later.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from sandbox_runtime.python.output import frame_sender, stdio

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """The SIGINT handler of an interpreter."""

    def __init__(self) -> None:
        self._armed = False
        self._pending = False
        self._early = False
        self._protected = frame_sender.protected_code() | stdio.protected_code()
        self._main_thread = threading.main_thread().ident or 0

    def install(self) -> None:
        """Handle SIGINT, even if an earlier cell installed a handler of its own."""
        if signal.getsignal(signal.SIGINT) != self._handle:
            signal.signal(signal.SIGINT, self._handle)
        # The zygote blocks SIGINT so that an interrupt during start-up is not lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def expect(self, *, after_interrupt: bool) -> None:
        """Prepare for a cell that was received.

        A signal since the last cell was meant for this one, unless the last one had been interrupted.
        """
        if after_interrupt:
            self._early = False

    def arm(self) -> None:
        """Allow interrupts: user code runs from here on.

        Raises:
            KeyboardInterrupt: The cell was interrupted before it began.
        """
        self._pending = False
        self._armed = True
        if self._early:
            self._early = False
            raise KeyboardInterrupt

    def disarm(self) -> None:
        """Stop allowing interrupts: user code has ended."""
        self._armed = False
        self._early = False

    def retry(self) -> None:
        """Deliver an interrupt that came at a bad moment. Another thread calls this regularly."""
        if self._pending and self._armed:
            self._pending = False
            signal.pthread_kill(self._main_thread, signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number
        if not self._armed:
            self._early = True
            return
        while frame is not None:
            if frame.f_code in self._protected:
                self._pending = True
                return
            frame = frame.f_back
        raise KeyboardInterrupt
