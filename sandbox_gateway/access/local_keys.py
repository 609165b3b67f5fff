"""The one key of a gateway on this machine, kept in the user's state folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

from sandbox_client.errors import SessionFailed
from sandbox_client.local.named.state_files import state_home
from sandbox_gateway.access.keys import ApiKey, hash_key, new_key, new_signing_pair

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "local"


@dataclass(frozen=True, slots=True)
class LocalCredentials:
    """The secrets of a gateway on this machine.

    Attributes:
        api_key: The API key.
        access_key_id: The id with which AWS's SDKs sign.
        secret_access_key: Its secret.
        session_secret: Signs tokens of single sessions.
    """

    api_key: str = field(repr=False)
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_secret: str = field(repr=False)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read the credentials, or make them if there are none.

        Args:
            path: The file. Default: `$XDG_STATE_HOME/sandbox/gateway.json`.

        Raises:
            SessionFailed: The file is damaged, or others may read it.
        """
        path = path or state_home() / "gateway.json"
        with contextlib.suppress(FileNotFoundError):
            return cls._read(path)
        made = cls(new_key(), *new_signing_pair(), secrets.token_hex(32))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(asdict(made), file)
            # Of two gateways that start at once, both use the file of the first.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(part)
        finally:
            part.unlink()
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Self:
        with path.open() as file:
            facts = os.fstat(file.fileno())
            text = file.read()
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            message = f"{path} holds keys, and others may read or write it: remove it, and a new one will be made"
            raise SessionFailed(message, reason="UNSAFE_FILE")
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            message = f"{path} is damaged: remove it, and a new one will be made"
            raise SessionFailed(message, reason="BAD_RECORD") from None


class LocalKeys:
    """The key store of a gateway on this machine.

    Args:
        credentials: Its secrets.
    """

    def __init__(self, credentials: LocalCredentials) -> None:
        self._key = ApiKey(
            name=_NAME,
            sha256=hash_key(credentials.api_key),
            access_key_id=credentials.access_key_id,
            signing_secret=credentials.secret_access_key,
        )

    async def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash."""
        return self._key if sha256 == self._key.sha256 else None

    async def by_access_key_id(self, access_key_id: str) -> ApiKey | None:
        """Return the key with this id."""
        return self._key if access_key_id == self._key.access_key_id else None

    async def by_name(self, name: str) -> ApiKey | None:
        """Return the key of this name."""
        return self._key if name == self._key.name else None

    def note_use(self, key: ApiKey) -> None:
        """Record nothing: there is one key."""
