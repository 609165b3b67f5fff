"""Bounds the memory that the bodies of requests take: they are signed, so each one is read as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from sandbox_client.errors import ResourceExhausted

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.requests import Request

MAX_BYTES: Final = 512 << 20
"""Bytes of the bodies of all requests at a time."""


class RequestBodies:
    """The bodies that are in memory now.

    Args:
        max_bytes: Their bytes at most.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.size = 0

    def open(self) -> RequestBody:
        """Return the body of one request. It counts until the end of its `with`."""
        return RequestBody(self)


class RequestBody:
    """The body of one request.

    Args:
        bodies: All bodies.
    """

    def __init__(self, bodies: RequestBodies) -> None:
        self._bodies = bodies
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bodies.size -= self._size

    async def read(self, request: Request) -> bytes:
        """Return the whole body.

        Raises:
            ResourceExhausted: Together with those of other requests, it is too large.
        """
        parts: list[bytes] = []
        async for part in request.stream():
            if self._bodies.size + len(part) > self._bodies.max_bytes:
                message = "the gateway has too many large requests at a time: try again later"
                raise ResourceExhausted(message, reason="TOO_MANY_REQUESTS")
            self._bodies.size += len(part)
            self._size += len(part)
            parts.append(part)
        return b"".join(parts)
