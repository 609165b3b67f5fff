"""One CA after the other without a call that fails: when the next one begins, signs, and the last is forgotten. Pure.

A running pod trusts what its Secret held when it started, and no pod is older than a certificate's LIFETIME. So the
next CA is trusted for that long before it signs anything, and the last one for that long after it did.
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
"""Before the end of a CA: several times what a succession takes."""
_FIELDS: Final = ("tls.crt", "tls.key", "next.crt", "next.key", "former.crt", "former.since")


@dataclass(frozen=True, slots=True)
class Succession:
    """The CA that signs, and the one after or the one before it."""

    current: KeyPair
    next: KeyPair | None = None
    former: bytes = b""
    """Its certificate; nobody has the key any more."""
    former_since: datetime | None = None
    """When it stopped signing."""

    @property
    def others(self) -> bytes:
        """The certificates to trust beside the current one, PEM."""
        return (self.next.certificate if self.next else b"") + self.former


def advance(held: Succession, now: datetime, *, is_told: bool) -> Succession:
    """What is to be held from now on: the same, or a step further.

    Args:
        held: What is held.
        now: The time.
        is_told: Whether to begin although the end is far; one succession at a time.
    """
    if held.former and (held.former_since is None or now - held.former_since >= LIFETIME):
        return Succession(held.current, held.next)
    if held.next is not None:
        begun = x509.load_pem_x509_certificate(held.next.certificate).not_valid_before_utc + CLOCK_SKEW
        is_due = now - begun >= LIFETIME
        return Succession(held.next, former=held.current.certificate, former_since=now) if is_due else held
    ends = x509.load_pem_x509_certificate(held.current.certificate).not_valid_after_utc
    if not held.former and (is_told or ends - now < _RENEW_BEFORE):
        return Succession(held.current, create_authority(now))
    return held


def to_data(held: Succession) -> dict[str, str | None]:
    """The data of its Secret; None: not there."""
    following = held.next or KeyPair(b"", b"")
    since = held.former_since.isoformat().encode() if held.former_since else b""
    values = (held.current.certificate, held.current.key, following.certificate, following.key, held.former, since)
    return {
        name: base64.b64encode(value).decode() if value else None for name, value in zip(_FIELDS, values, strict=True)
    }


def from_data(data: Mapping[str, str]) -> Succession:
    """What `to_data` made.

    Raises:
        KeyError: There is no tls.crt or no tls.key.
        ValueError: Something is not what it should be.
    """
    values = {name: base64.b64decode(data.get(name) or "") for name in _FIELDS}
    since = values["former.since"].decode()
    return Succession(
        KeyPair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])),
        KeyPair(values["next.crt"], values["next.key"]) if values["next.crt"] else None,
        values["former.crt"],
        datetime.fromisoformat(since) if since else None,
    )
