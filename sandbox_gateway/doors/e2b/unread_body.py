"""Reads what a refused request still sends. Otherwise its connection is reset, and the client never sees the answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

_MAX_BYTES: Final = 1 << 20
_SECONDS: Final = 2.0


async def drain(request: Request) -> None:
    """Read the rest of a request's body, if it is short and arrives at once."""
    read = 0
    # RuntimeError: the body was read already.
    with contextlib.suppress(RuntimeError, ClientDisconnect, HTTPException, TimeoutError):
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                read += len(chunk)
                if read > _MAX_BYTES:
                    return
