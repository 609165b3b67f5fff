"""Detects what other writers stored, before a call starts.

When a call runs, the sandbox has everything that was stored before the call began. A failing store fails no call: a
call waits for it only for a short time. The error is logged and shown in the workspace's status, and the next check
comes later.

A plain S3 client leaves no trace but its objects, so the check compares etags from one listing. Another session's
push also changes HEAD.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.errors import translating
from sandbox_link.protocol import OperationError
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_agent.storage.base_state import Base, BaseTracker
    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.repository.repository import Listing

CALL_TIMEOUT: Final = 5.0
"""Seconds that a call waits for a check. If there are changes, it waits until they are fetched, without a limit."""
RETRY_AFTER: Final = 10.0
"""Seconds between a failed check and the next one."""
COSTLY_FACTOR: Final = 4.0
"""A costly check stays valid for this many times its own duration."""
MAX_AGE: Final = 10.0
"""Maximum number of seconds that a costly check stays valid, unless the session was bound with a longer time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    """Identifies the stored state that a check saw."""

    digest: bytes = b""
    """Digest of every path and etag, and of HEAD's etag."""
    head_etag: str = ""


class RemoteChanges:
    """Detects and fetches what other writers stored. Calls that arrive during a check share it.

    A call may use a check only if the check began after the call. `is_fresh` and `refresh_if_stale` number the calls
    for that.

    Args:
        context: The workspace's.
        tracker: Holds the base.
        load_base: Returns the base, after loading it if necessary.
        fetch: Fetches changes into the sandbox.
        max_age: Seconds that a check stays valid. With 0 every call checks.
        monotonic: The clock.

    Attributes:
        error: The last check's error; empty if it succeeded.
    """

    def __init__(
        self,
        context: WorkspaceContext,
        tracker: BaseTracker,
        load_base: Callable[[], Awaitable[Base]],
        fetch: Callable[[], Awaitable[object]],
        max_age: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.error = ""
        self._context = context
        self._tracker = tracker
        self._load_base = load_base
        self._fetch = fetch
        self._max_age = max_age
        self._monotonic = monotonic
        self._requested = 1
        self._answered = 0
        self._valid_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._wait_until = 0.0
        self._seen = _Fingerprint()
        self._handled = _Fingerprint()

    def is_fresh(self) -> bool:
        """Return whether a call that begins now may go on at once. Otherwise it awaits `refresh_if_stale` next."""
        if not self._context.store.is_unchanged(self._context.keys.prefix):
            self._requested += 1
        return self._requested == self._answered or self._monotonic() < self._valid_until

    async def refresh_if_stale(self) -> None:
        """Fetch remote changes if the last check is too old. Never raises. Safe to cancel."""
        request = self._requested
        while self._answered < request and self._monotonic() >= self._valid_until:
            if self._task is None or self._task.done():
                self._wait_until = self._monotonic() + CALL_TIMEOUT
                self._task = asyncio.create_task(self._refresh())
            left = self._wait_until - self._monotonic()
            if left <= 0:
                return
            await asyncio.wait({self._task}, timeout=left)

    async def close(self) -> None:
        """Stop a running check."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _refresh(self) -> None:
        request, started = self._requested, self._monotonic()
        try:
            is_costly, has_changes = await self._check()
            duration = self._monotonic() - started
            if has_changes:
                self._wait_until = math.inf
                await self._fetch()
                self._handled = self._seen
        except Exception as error:  # noqa: BLE001 - no call fails because of a check; a defect is logged here
            _log.warning("could not check for remote changes", exc_info=error)
            text = f"{error.reason}: {error.message}" if isinstance(error, OperationError) else "INTERNAL: see the log"
            self.error = f"could not check for remote changes: {text}"
            self._valid_until = self._monotonic() + RETRY_AFTER
            return
        self._answered = request
        valid = self._max_age
        if is_costly:
            valid = max(valid, min(COSTLY_FACTOR * duration, MAX_AGE))
        self._valid_until = started + duration + valid if valid else 0.0

    async def _check(self) -> tuple[bool, bool]:
        """Return whether the check was costly, and whether there are changes to fetch."""
        with tracing.span("sandbox.look") as span:
            is_watching = await self._context.store.start_watching(self._context.keys.prefix)
            with translating():
                listing = await self._context.repository.list_all()
                self._seen = _fingerprint(listing)
                base = await self._load_base()
                uploading = self._tracker.uploading
                has_changes = await self._differs(listing, base, uploading)
            self.error = ""
            if not has_changes and uploading is None and base is self._tracker.base:
                self._handled = self._seen
            span.set("sandbox.news", has_changes)
            return listing.requests > 1 and not is_watching, has_changes

    async def _differs(self, listing: Listing, base: Base, uploading: frozenset[str] | None) -> bool:
        """Return whether another writer changed something since the base. Files being uploaded do not count."""
        if self._seen.digest == self._handled.digest:
            return False
        for path, info in listing.objects.items():
            entry = base.entries.get(path)
            if (entry is None or entry.etag != info.etag) and (uploading is None or path not in uploading):
                return True
        if uploading is not None or listing.head_etag in {"", self._handled.head_etag}:
            return False
        # HEAD also changes without a new commit, when a push acquires, refreshes or releases its lock.
        return (await self._context.repository.read_head()).head.commit != base.commit


def _fingerprint(listing: Listing) -> _Fingerprint:
    digest = hashlib.blake2b(f"{listing.head_etag}\0".encode("utf-8", "surrogateescape"), digest_size=16)
    for path, info in listing.objects.items():
        digest.update(f"{path}\0{info.etag}\0".encode("utf-8", "surrogateescape"))
    return _Fingerprint(digest.digest(), listing.head_etag)
