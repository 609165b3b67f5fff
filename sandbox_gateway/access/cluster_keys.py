"""The keys of a cluster: one Secret each, read again after some seconds."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_client.errors import SandboxError
from sandbox_client.lifecycle.session_info import format_time
from sandbox_gateway.access.keys import from_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sandbox_gateway.access.keys import ApiKey

FRESH_SECONDS: Final = 3.0
"""Time after which the keys are read again, so a revoked key ends within this time."""
STALE_SECONDS: Final = 60.0
"""Time for which keys count while the API server does not respond."""
USE_SECONDS: Final = 600.0
"""Time between two records of a key's use."""

_log: Final = logging.getLogger(__name__)


class SecretReader(Protocol):
    """The API server."""

    async def list_keys(self) -> list[dict[str, Any]]:
        """Return the Secrets that hold keys."""

    async def write_last_use(self, name: str, moment: str) -> None:
        """Write the time of a key's last use."""


class ClusterKeys:
    """The key store of a cluster. For one event loop.

    Args:
        api: The API server.
        clock: Returns the current time in seconds.
    """

    def __init__(self, api: SecretReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._keys: list[ApiKey] = []
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash."""
        return await self._find(lambda key: key.sha256 == sha256)

    async def by_access_key_id(self, access_key_id: str) -> ApiKey | None:
        """Return the key with this id."""
        return await self._find(lambda key: bool(access_key_id) and key.access_key_id == access_key_id)

    async def by_name(self, name: str) -> ApiKey | None:
        """Return the key of this name."""
        return await self._find(lambda key: key.name == name)

    def note_use(self, key: ApiKey) -> None:
        """Record that a key was used, unless that was recorded some minutes ago."""
        now = self._clock()
        if now - self._noted.get(key.name, float("-inf")) < USE_SECONDS:
            return
        self._noted[key.name] = now
        note = asyncio.create_task(self._note(key.name))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self, name: str) -> None:
        try:
            await self._api.write_last_use(name, format_time(dt.datetime.now(dt.UTC)))
        except SandboxError as error:
            _log.warning("the use of the key %s was not recorded: %s", name, error)

    async def _find(self, is_wanted: Callable[[ApiKey], bool]) -> ApiKey | None:
        if self._clock() - self._read_at > FRESH_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.shield(self._reading)
        return next(filter(is_wanted, self._keys), None)

    async def _read(self) -> None:
        began = self._clock()
        try:
            secrets: list[Mapping[str, Any]] = [*await self._api.list_keys()]
        except SandboxError as error:
            if began - self._read_at > STALE_SECONDS:
                self._keys = []
                raise
            _log.warning("the keys could not be read, so those from before still count: %s", error)
            return
        found = [(secret, from_secret(secret)) for secret in secrets]
        for secret, key in found:
            if key is None:
                _log.warning("the secret %s is not a valid key", (secret.get("metadata") or {}).get("name"))
        self._keys = [key for _, key in found if key is not None]
        self._read_at = began
