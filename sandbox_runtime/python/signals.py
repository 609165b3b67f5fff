"""Runs signal handlers in user code, and nowhere else.

SIGINT becomes a KeyboardInterrupt in the running cell. A handler that user code installs may raise, too. So
`signal.signal` installs a function of this module, which inspects the interrupted stack. Inside a function that must
not be cut short it only remembers the signal, and `retry` delivers it a little later. Between cells the handler runs,
and what it raises is reported to the next cell.
"""

from __future__ import annotations

import functools
import signal
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.output import frame_sender, stdio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# User code may replace them.
_set_handler: Final = signal.signal
_get_handler: Final = signal.getsignal
_set_mask: Final = signal.pthread_sigmask
_send: Final = signal.pthread_kill
_SIGINT: Final = int(signal.SIGINT)


class Signals:
    """The signal handlers of an interpreter.

    Args:
        report: Takes the text of an exception that a handler raised between two cells.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._armed = False
        self._early = False
        self._pending: set[int] = set()
        self._handlers: dict[int, Callable[..., Any]] = {}
        self._protected = frame_sender.protected_code() | stdio.protected_code()
        self._main_thread = threading.main_thread().ident or 0

    def install(self) -> None:
        """Handle SIGINT, even if an earlier cell installed a handler of its own, and replace `signal.signal`."""
        self._handlers.pop(_SIGINT, None)
        if _get_handler(_SIGINT) != self._interrupt:
            _set_handler(_SIGINT, self._interrupt)
        # The zygote blocks SIGINT so that an interrupt during start-up is not lost.
        _set_mask(signal.SIG_UNBLOCK, (_SIGINT,))
        if signal.signal is _set_handler:
            self._replace_functions()

    def expect(self, *, after_interrupt: bool) -> None:
        """Prepare for a cell that was received.

        A SIGINT since the last cell was meant for this one, unless the last one had been interrupted.
        """
        if after_interrupt:
            self._early = False

    def arm(self) -> None:
        """Allow handlers: user code runs from here on.

        Raises:
            KeyboardInterrupt: The cell was interrupted before it began.
        """
        self._pending.discard(_SIGINT)
        self._armed = True
        if self._early:
            self._early = False
            raise KeyboardInterrupt

    def disarm(self) -> None:
        """Stop allowing handlers: user code has ended."""
        self._armed = False
        self._early = False
        self._pending.discard(_SIGINT)

    def retry(self) -> None:
        """Deliver signals that came at a bad moment. Another thread calls this regularly while a cell runs."""
        while self._pending and self._armed:
            _send(self._main_thread, self._pending.pop())

    def run_pending(self) -> None:
        """Run the handlers of such signals between two cells."""
        while self._pending:
            self._run_between_cells(self._pending.pop(), None)

    def _replace_functions(self) -> None:
        @functools.wraps(_set_handler)
        def set_handler(signalnum: Any, handler: Any) -> Any:
            return self._set_user_handler(signalnum, handler)

        @functools.wraps(_get_handler)
        def get_handler(signalnum: Any) -> Any:
            return self._get_user_handler(signalnum)

        signal.signal, signal.getsignal = set_handler, get_handler

    def _set_user_handler(self, signalnum: Any, handler: Any, /) -> Any:
        before = self._get_user_handler(signalnum)
        if callable(handler):
            _set_handler(signalnum, self._handle)
            self._handlers[int(signalnum)] = handler
        else:
            _set_handler(signalnum, handler)
            self._handlers.pop(int(signalnum), None)
        return before

    def _get_user_handler(self, signalnum: Any, /) -> Any:
        handler = _get_handler(signalnum)
        return self._handlers.get(int(signalnum), handler) if handler == self._handle else handler

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._armed:
            self._early = True
        elif self._is_protected(frame):
            self._pending.add(number)
        else:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_protected(frame):
            self._pending.add(number)
        elif self._armed:
            self._handlers[number](number, frame)
        else:
            self._run_between_cells(number, frame)

    def _is_protected(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code in self._protected:
                return True
            frame = frame.f_back
        return False

    def _run_between_cells(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers.get(number)
        if handler is None:
            return
        try:
            handler(number, frame)
        except BaseException as error:  # noqa: BLE001 - there is no user code that could handle it
            name = signal.Signals(number).name
            frames = error.__traceback__.tb_next if error.__traceback__ else None
            text = "".join(traceback.format_exception(type(error), error, frames))
            self._report(f"The handler of {name} raised an exception while no cell ran:\n{text}")
