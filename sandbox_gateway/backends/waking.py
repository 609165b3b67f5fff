"""Resumes sessions for the connections that callers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_client.cluster.wake import Waker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class CountedWaker(Waker):
    """The route to one session. It resumes the session as a caller would, so within the caller's limits.

    Attributes:
        resume: Resumes the session, and waits until it is Ready.
    """

    resume: Callable[[], Awaitable[object]]

    async def _resume(self) -> None:
        await self.resume()
