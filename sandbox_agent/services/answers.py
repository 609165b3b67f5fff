"""Where a runtime's answer is malformed, the call fails; nobody gets half-checked values."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sandbox_agent.link.calls import OperationError
from sandbox_agent.link.frames import FrameError

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
