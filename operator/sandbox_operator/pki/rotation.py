"""Decides when the CA is replaced, so that no call fails. Pure.

A running pod trusts the certificates that its Secret contained when it started. No pod is older than a certificate's
LIFETIME. So the next CA is trusted for that long before it signs anything. The former CA is trusted for that long
after it has stopped signing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from sandbox_operator.pki.certificates import CLOCK_SKEW, LIFETIME, KeyPair, create_authority

if TYPE_CHECKING:
    from collections.abc import Mapping

_RENEW_BEFORE: Final = timedelta(days=365)
"""Time before a CA expires at which its rotation begins: several times what a rotation takes."""
_FIELDS: Final = ("tls.crt", "tls.key", "next.crt", "next.key", "former.crt", "former.since")


@dataclass(frozen=True, slots=True)
class Rotation:
    """The CA that signs, and the next or the former one."""

    current: KeyPair
    next: KeyPair | None = None
    former: bytes = b""
    """Certificate of the former CA. Its key was discarded."""
    former_since: datetime | None = None
    """Time at which the former CA stopped signing."""

    @property
    def others(self) -> bytes:
        """Return the certificates to trust besides the current one, PEM."""
        return (self.next.certificate if self.next else b"") + self.former


def advance(rotation: Rotation, now: datetime, *, is_requested: bool) -> Rotation:
    """Return the rotation as it should be now: unchanged, or one step further.

    Args:
        rotation: The current state.
        now: The time.
        is_requested: Begin even if the CA does not expire soon. A rotation in progress is finished first.
    """
    if rotation.former and (rotation.former_since is None or now - rotation.former_since >= LIFETIME):
        return Rotation(rotation.current, rotation.next)
    if rotation.next is not None:
        begun = x509.load_pem_x509_certificate(rotation.next.certificate).not_valid_before_utc + CLOCK_SKEW
        is_trusted = now - begun >= LIFETIME
        signs_now = Rotation(rotation.next, former=rotation.current.certificate, former_since=now)
        return signs_now if is_trusted else rotation
    ends = x509.load_pem_x509_certificate(rotation.current.certificate).not_valid_after_utc
    if not rotation.former and (is_requested or ends - now < _RENEW_BEFORE):
        return Rotation(rotation.current, create_authority(now))
    return rotation


def to_data(rotation: Rotation) -> dict[str, str | None]:
    """Encode a rotation as the data of its Secret. A value is None if the key should be absent."""
    following = rotation.next or KeyPair(b"", b"")
    since = rotation.former_since.isoformat().encode() if rotation.former_since else b""
    current = rotation.current
    values = (current.certificate, current.key, following.certificate, following.key, rotation.former, since)
    return {
        name: base64.b64encode(value).decode() if value else None for name, value in zip(_FIELDS, values, strict=True)
    }


def from_data(data: Mapping[str, str]) -> Rotation:
    """Decode the data of a Secret.

    Raises:
        KeyError: tls.crt or tls.key is missing.
        ValueError: A value is malformed.
    """
    values = {name: base64.b64decode(data.get(name) or "") for name in _FIELDS}
    since = values["former.since"].decode()
    return Rotation(
        KeyPair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])),
        KeyPair(values["next.crt"], values["next.key"]) if values["next.crt"] else None,
        values["former.crt"],
        datetime.fromisoformat(since) if since else None,
    )
