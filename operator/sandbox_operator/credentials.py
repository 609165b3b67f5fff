"""Storage credentials for a session: where they come from is decided here and nowhere else.

Only the administrator's shared static credentials so far. Credentials made for one prefix (STS AssumeRole with a
session policy) are another implementation of `CredentialSource`; `expires_at` and the agent's Renew are ready for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sandbox_operator.errors import Blocked

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sandbox_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class StorageCredentials:
    """What an agent signs its storage requests with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


class CredentialSource(Protocol):
    """Gives credentials that reach at least the keys below a prefix."""

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """Credentials for one workspace.

        Raises:
            Blocked: There are none now.
        """
        ...


class StaticCredentials:
    """The administrator's shared credentials: from the environment, else from mounted files, read at each call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """See CredentialSource."""
        del key_prefix
        settings = self._settings
        if settings.storage_access_key_id:
            return StorageCredentials(settings.storage_access_key_id, settings.storage_secret_access_key)
        try:
            return await asyncio.to_thread(_read, settings.storage_credentials_dir)
        except OSError as error:
            raise Blocked(
                "StorageCredentialsMissing", f"the operator has no storage credentials: {error.strerror}"
            ) from error


def _read(folder: Path) -> StorageCredentials:
    return StorageCredentials(
        (folder / "access_key_id").read_text(encoding="utf-8").strip(),
        (folder / "secret_access_key").read_text(encoding="utf-8").strip(),
    )
