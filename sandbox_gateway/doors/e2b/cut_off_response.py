"""An answer that may be cut off: its client learns of a failure by a connection that ends too early."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from sandbox_client.errors import SandboxError

if TYPE_CHECKING:
    from starlette.types import Send

_log: Final = logging.getLogger(__name__)


class CutOffResponse(StreamingResponse):
    """A stream whose connection is closed without an end if its session fails. The log gets one line, no traceback."""

    async def stream_response(self, send: Send) -> None:
        """Send the stream, as far as it goes."""
        try:
            await super().stream_response(send)
        except SandboxError as error:
            # The server closes the connection, as the answer is not complete.
            _log.warning("an answer was cut off: %s", error.message)
