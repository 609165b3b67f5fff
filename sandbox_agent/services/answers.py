"""Where a runtime's answer is malformed, the call fails; nobody gets half-checked values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def answer() -> Iterator[None]:
    """Around the reading of an answer.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: the runtime's values have the wrong shape.
    """
    try:
        yield
    except FrameError as error:
        message = f"the sandbox's runtime answered nonsense: {error}"
        raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message) from error
