"""API keys: their form, their limits, and how each is stored. Pure.

Only the hash of a key is stored. A key has 160 random bits, so a fast hash is enough.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.lifecycle.session_info import format_time, parse_time
from sandbox_gateway.backend import Caller

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

KEY_LABEL: Final = "sandboxsessions.dev/api-key"
"""Label of a Secret that holds a key. Its value is the key's name."""
SECRET_PREFIX: Final = "sandbox-key-"  # noqa: S105 - the beginning of a name
LAST_USED: Final = "sandboxsessions.dev/last-used"
"""Annotation with the time of a key's last use, to some minutes."""
_KEY: Final = re.compile(r"e2b_[0-9a-f]{40}")
_NAME: Final = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored.

    Attributes:
        name: Its name, which is not secret.
        sha256: Hex digest of the key.
        namespace: The only namespace whose sessions it reaches; "" for those of this machine.
        templates: Templates that it may use; None for all.
        max_sessions: Sessions at a time; None for no limit.
        per_minute: Sessions that it may create in a minute; None for no limit.
        max_seconds: Longest time of a session from its start, in seconds; None for no limit.
        access_key_id: The public half of the pair that signs requests of AWS's SDKs; "" if it has none.
        signing_secret: The secret half. A signature can only be checked with the secret itself.
        created_at: Time of the creation.
        last_used: Time of the last use, to some minutes.
    """

    name: str
    sha256: str
    namespace: str = ""
    templates: frozenset[str] | None = None
    max_sessions: int | None = None
    per_minute: int | None = None
    max_seconds: float | None = None
    access_key_id: str = ""
    signing_secret: str = field(default="", repr=False)
    created_at: dt.datetime | None = None
    last_used: dt.datetime | None = None

    @property
    def id(self) -> str:
        """Digits that another key of this name does not have."""
        return hashlib.sha256(f"id of {self.sha256}".encode()).hexdigest()[:32]

    @property
    def caller(self) -> Caller:
        """The caller that the key stands for."""
        return Caller(
            name=self.name,
            namespace=self.namespace,
            templates=self.templates,
            max_sessions=self.max_sessions,
            max_seconds=self.max_seconds,
            per_minute=self.per_minute,
            key_id=self.id,
        )


def new_key() -> str:
    """Return a new key: `e2b_` and 40 hex digits. Older E2B clients insist on this form."""
    return f"e2b_{secrets.token_hex(20)}"


def new_signing_pair() -> tuple[str, str]:
    """Return a new access key id and its secret, in the form of AWS's."""
    return "SBX" + "".join(secrets.choice(_ALPHABET) for _ in range(17)), secrets.token_urlsafe(30)


def hash_key(key: str) -> str:
    """Return the hex digest under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_key(text: str) -> bool:
    """Return whether a text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def is_same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def check_key_name(name: str) -> str:
    """Return the name of a new key.

    Raises:
        InvalidArgument: It is not a name.
    """
    if len(SECRET_PREFIX + name) > 253 or not _NAME.fullmatch(name):  # noqa: PLR2004 - Kubernetes' limit
        raise InvalidArgument(f"{name!r} is not a key's name: use small letters, digits and -", field="name")
    return name


def to_secret(key: ApiKey) -> dict[str, Any]:
    """Return the Secret that stores a key, without a namespace."""
    limits = {
        "namespace": key.namespace,
        "templates": None if key.templates is None else sorted(key.templates),
        "maxSessions": key.max_sessions,
        "sessionsPerMinute": key.per_minute,
        "maxSeconds": key.max_seconds,
    }
    given = {name: value for name, value in limits.items() if value is not None}
    data = {"sha256": key.sha256, "limits": json.dumps(given)}
    if key.access_key_id:
        data |= {"accessKeyId": key.access_key_id, "signingSecret": key.signing_secret}
    annotations = {LAST_USED: format_time(key.last_used)} if key.last_used else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "sandboxsessions.dev/api-key",
        "metadata": {
            "name": SECRET_PREFIX + key.name,
            "labels": {KEY_LABEL: key.name},
            **({"annotations": annotations} if annotations else {}),
        },
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


def from_secret(secret: Mapping[str, Any]) -> ApiKey | None:
    """Return the key that a Secret stores, or None if it is not one. A damaged limit makes the key void."""
    metadata = secret.get("metadata") or {}
    try:
        data = {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
        limits = json.loads(data.get("limits", "{}"))
        templates = limits.get("templates")
        key = ApiKey(
            name=str((metadata.get("labels") or {})[KEY_LABEL]),
            sha256=data["sha256"],
            namespace=str(limits["namespace"]),
            templates=None if templates is None else frozenset(map(str, templates)),
            max_sessions=_optional(int, limits.get("maxSessions")),
            per_minute=_optional(int, limits.get("sessionsPerMinute")),
            max_seconds=_optional(float, limits.get("maxSeconds")),
            access_key_id=data.get("accessKeyId", ""),
            signing_secret=data.get("signingSecret", ""),
            created_at=parse_time(metadata.get("creationTimestamp")),
            last_used=parse_time((metadata.get("annotations") or {}).get(LAST_USED)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        return None
    is_whole = re.fullmatch(r"[0-9a-f]{64}", key.sha256) and key.namespace
    # Otherwise two Secrets could be the same key.
    return key if is_whole and metadata.get("name") == SECRET_PREFIX + key.name else None


def _optional(read: Any, value: Any) -> Any:
    return None if value is None else read(value)
