"""Storage credentials for a session: where they come from is decided here and nowhere else.

The administrator's shared static credentials are here; those made for one workspace, which have an end, in sts.py.
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

    def prepare(self, key_prefix: str) -> None:
        """`credentials_for` is going to be called for it soon. Never waits, never fails."""
        ...

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

    def prepare(self, key_prefix: str) -> None:
        """See CredentialSource. Reading them takes no time."""

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """See CredentialSource."""
        del key_prefix
        found = self._given or await asyncio.to_thread(self._read_files)
        if found is None:
            raise Blocked("StorageCredentialsMissing", "the operator has no storage credentials")
        return found

    def read(self) -> StorageCredentials | None:
        """The credentials; None: there are none. Blocks.

        Raises:
            Blocked: There are some that cannot be read.
        """
        return self._given or self._read_files()

    @property
    def _given(self) -> StorageCredentials | None:
        """What the environment says."""
        settings = self._settings
        if not settings.storage_access_key_id:
            return None
        return StorageCredentials(settings.storage_access_key_id, settings.storage_secret_access_key)

    def _read_files(self) -> StorageCredentials | None:
        try:
            return _read(self._settings.storage_credentials_dir)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"the operator's storage credentials cannot be read: {error.strerror}"
            raise Blocked("StorageCredentialsMissing", message) from error


def _read(folder: Path) -> StorageCredentials:
    return StorageCredentials(
        (folder / "access_key_id").read_text(encoding="utf-8").strip(),
        (folder / "secret_access_key").read_text(encoding="utf-8").strip(),
    )
