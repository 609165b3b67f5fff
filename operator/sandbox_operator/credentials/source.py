"""The interface for a session's storage credentials, and the administrator's shared static ones.

Temporary credentials for one workspace are in sts.py.
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
    """The credentials that an agent signs its storage requests with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


class CredentialSource(Protocol):
    """A source of credentials that reach at least the keys below a prefix."""

    def prepare(self, key_prefix: str) -> None:
        """Start fetching the credentials, because `credentials_for` will be called soon. Never blocks or raises."""
        ...

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """Return credentials for one workspace.

        Raises:
            Blocked: No credentials are available now.
        """
        ...


class StaticCredentials:
    """The administrator's shared credentials, from the environment or else from mounted files, read at each call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def prepare(self, key_prefix: str) -> None:
        """Do nothing: reading the credentials takes no time."""

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """Return the same credentials for every workspace."""
        del key_prefix
        found = self._from_settings or await asyncio.to_thread(self._read_files)
        if found is None:
            raise Blocked("StorageCredentialsMissing", "the operator has no storage credentials")
        return found

    def read(self) -> StorageCredentials | None:
        """Return the credentials, or None if none are configured. Blocks while it reads files.

        Raises:
            Blocked: The files cannot be read.
        """
        return self._from_settings or self._read_files()

    @property
    def _from_settings(self) -> StorageCredentials | None:
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
