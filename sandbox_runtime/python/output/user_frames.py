"""Removes the frames of the runtime, of asyncio and of IPython from tracebacks."""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN: Final = str(Path(__file__).parents[2]) + os.sep
_ASYNCIO: Final = str(Path(os.__file__).parent / "asyncio") + os.sep
_SELECTORS: Final = selectors.__file__
# A class of user code may have replaced the attribute and the method.
_read: Final[Any] = vars(BaseException)["__traceback__"].__get__
_replace: Final = BaseException.with_traceback


def drop_internal_frames(error: BaseException) -> None:
    """Remove these frames from an exception, its causes and contexts, and the exceptions of a group."""
    for each in _related(error):
        with contextlib.suppress(Exception):
            _replace(each, _user_frames(_read(each)))


def awaited_frames(coroutine: Any) -> TracebackType | None:
    """Return a traceback to the place where a coroutine is suspended."""
    frames = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        frames.append(frame)
        coroutine = coroutine.cr_await
    traceback = None
    for frame in reversed(frames):
        traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno)
    return traceback


def _related(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], {id(error)}
    while waiting:
        each = waiting.pop()
        yield each
        group = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        for other in (each.__cause__, each.__context__, *group):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


def _user_frames(traceback: TracebackType | None) -> TracebackType | None:
    kept = []
    is_in_asyncio = False
    ipython = sys.modules.get("IPython")
    folders = (_OWN, _ASYNCIO, *(folder + os.sep for folder in getattr(ipython, "__path__", ())))
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        is_internal = file.startswith(folders) or (is_in_asyncio and file == _SELECTORS)
        is_in_asyncio = is_internal and not file.startswith(_OWN)
        if not is_internal:
            kept.append(traceback)
        traceback = traceback.tb_next
    chain = None
    for each in reversed(kept):
        chain = TracebackType(chain, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return chain
