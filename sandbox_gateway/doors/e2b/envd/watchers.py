"""Watches folders, for a stream or for a client that asks for the changes now and then."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, ResourceExhausted, SandboxError
from sandbox_gateway.background import run_in_background
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.envd import file_messages as messages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sandbox_gateway.doors.e2b.sessions import OpenSession

_MAX_WATCHERS: Final = 64
"""Watchers of one session."""
_MAX_EVENTS: Final = 10_000
"""Changes that all watchers of one session keep for its clients."""
_IDLE_SECONDS: Final = 600.0
"""Seconds after which a watcher ends if its client asks for nothing."""


async def watch_changes(session: OpenSession, message: dict[str, Any]) -> AsyncGenerator[dict[str, Any] | None, None]:
    """Yield None when the watch is active, then the events of E2B's protocol.

    Args:
        session: The session.
        message: The request.

    Raises:
        NotFound: There is no such folder.
    """
    folder = session.place.to_files(values.text(message, "path"))
    wants_entry = values.flag(message, "includeEntry")
    is_active = asyncio.Event()
    changes = session.sandbox.files.watch(folder, recursive=values.flag(message, "recursive"), on_ready=is_active.set)
    async with contextlib.aclosing(changes):
        following = asyncio.ensure_future(anext(changes, None))
        active = asyncio.ensure_future(is_active.wait())
        try:
            await asyncio.wait({following, active}, return_when=asyncio.FIRST_COMPLETED)
            if not is_active.is_set():
                await following
            yield None
            while (change := await following) is not None:
                if change.change == "overflow":
                    raise ResourceExhausted("changes were lost: list the files again", reason="OUTPUT_LIMIT")
                changed = None
                if wants_entry and change.change != "removed":
                    with contextlib.suppress(SandboxError):
                        changed = messages.entry(await session.sandbox.files.stat(change.path), session.place)
                if (event := messages.event(change, folder, changed)) is not None:
                    yield event
                following = asyncio.ensure_future(anext(changes, None))
        finally:
            active.cancel()
            following.cancel()
            await asyncio.wait({following})


@dataclass(slots=True)
class _Watcher:
    session_key: str
    task: asyncio.Task[None]
    events: list[dict[str, Any]] = field(default_factory=list)
    asked_at: float = field(default_factory=time.monotonic)


class Watchers:
    """Watchers that keep the changes until their client asks. They belong to this process.

    Args:
        idle_seconds: Seconds after which a watcher ends if its client asks for nothing.
        max_events: Changes that all watchers of one session keep.
    """

    def __init__(self, idle_seconds: float = _IDLE_SECONDS, max_events: int = _MAX_EVENTS) -> None:
        self._idle_seconds = idle_seconds
        self._max_events = max_events
        self._watchers: dict[str, _Watcher] = {}
        self._kept: Counter[str] = Counter()

    async def create(self, session: OpenSession, message: dict[str, Any]) -> str:
        """Start a watcher, and return its id when it is active.

        Raises:
            NotFound: There is no such folder.
            ResourceExhausted: The session has too many watchers.
        """
        if sum(each.session_key == session.key for each in self._watchers.values()) >= _MAX_WATCHERS:
            raise ResourceExhausted(f"a sandbox may have {_MAX_WATCHERS} watchers", reason="TOO_MANY_CALLS")
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        identifier = secrets.token_hex(16)
        task = run_in_background(self._collect(identifier, session, message, started))
        self._watchers[identifier] = _Watcher(session.key, task)
        try:
            await started
        except BaseException:
            self._end(identifier)
            raise
        self._end_if_idle(identifier)
        return identifier

    def read(self, session: OpenSession, identifier: str) -> list[dict[str, Any]]:
        """Return the changes since the last call.

        Raises:
            NotFound: There is no such watcher.
        """
        watcher = self._get(session, identifier)
        watcher.asked_at = time.monotonic()
        events = self._take(watcher)
        if watcher.task.done() and not events:
            self._end(identifier)
            watcher.task.result()
        return events

    def remove(self, session: OpenSession, identifier: str) -> None:
        """End a watcher.

        Raises:
            NotFound: There is no such watcher.
        """
        self._get(session, identifier)
        self._end(identifier)

    async def _collect(
        self, identifier: str, session: OpenSession, message: dict[str, Any], started: asyncio.Future[None]
    ) -> None:
        try:
            async with contextlib.aclosing(watch_changes(session, message)) as changes:
                async for change in changes:
                    watcher = self._watchers[identifier]
                    if change is None:
                        started.set_result(None)
                        continue
                    if self._kept[session.key] >= self._max_events:
                        text = f"more than {self._max_events} changes of this sandbox were not read"
                        raise ResourceExhausted(text, reason="OUTPUT_LIMIT")
                    watcher.events.append(change)
                    self._kept[session.key] += 1
        except SandboxError as error:
            if started.done():
                raise
            started.set_exception(error)

    def _get(self, session: OpenSession, identifier: str) -> _Watcher:
        watcher = self._watchers.get(identifier)
        if watcher is None or watcher.session_key != session.key:
            raise NotFound(f"watcher with id {identifier} not found", reason="UNKNOWN_WATCHER")
        return watcher

    def _end(self, identifier: str) -> None:
        if (watcher := self._watchers.pop(identifier, None)) is not None:
            watcher.task.cancel()
            self._take(watcher)

    def _end_if_idle(self, identifier: str) -> None:
        """End a watcher whose client has gone, or look again when that may be so."""
        if (watcher := self._watchers.get(identifier)) is None:
            return
        left = watcher.asked_at + self._idle_seconds - time.monotonic()
        if left <= 0:
            self._end(identifier)
        else:
            asyncio.get_running_loop().call_later(left, self._end_if_idle, identifier)

    def _take(self, watcher: _Watcher) -> list[dict[str, Any]]:
        events, watcher.events = watcher.events, []
        self._kept[watcher.session_key] -= len(events)
        if not self._kept[watcher.session_key]:
            del self._kept[watcher.session_key]
        return events
