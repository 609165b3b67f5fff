"""SIGINT as KeyboardInterrupt in the running cell, and nowhere else.

The handler looks at the stack it interrupted: within functions that must not be left half done the signal is
remembered and sent again a
little later (`retry`).
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from sandbox_runtime.python.output import frame_sender as sender
from sandbox_runtime.python.output import stdio as streams

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """The SIGINT handler of an interpreter."""

    def __init__(self) -> None:
        self._armed = False
        self._pending = False
        self._early = False
        self._protected = sender.protected_code() | streams.protected_code()
        self._main_thread = threading.main_thread().ident or 0

    def install(self) -> None:
        """Take over SIGINT; also takes it back from an earlier cell that set its own handler."""
        if signal.getsignal(signal.SIGINT) != self._handle:
            signal.signal(signal.SIGINT, self._handle)
        # The zygote blocks it, so that an interrupt of a process that is still starting is not lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def expect(self, *, after_interrupt: bool) -> None:
        """A cell was received: a signal since the last one was for it, unless the last one had been interrupted."""
        if after_interrupt:
            self._early = False

    def arm(self) -> None:
        """User code runs from here on.

        Raises:
            KeyboardInterrupt: The cell was interrupted before it began.
        """
        self._pending = False
        self._armed = True
        if self._early:
            self._early = False
            raise KeyboardInterrupt

    def disarm(self) -> None:
        """User code has ended."""
        self._armed = False
        self._early = False

    def retry(self) -> None:
        """Called from another thread now and then: deliver an interrupt that came at a bad moment."""
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
