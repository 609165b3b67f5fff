"""Proof that the operator made an object: a signature of its certificate authority in an annotation.

Names, labels and owner references can be forged by anyone who may create pods or Secrets in a namespace. The CA's key
is the operator's alone. A signature covers what must not change, such as the uid that the API server gave a pod. So it
is worthless on any other object. It needs no state, and outlives a restart and a rotation of the CA.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox_operator.api import naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.pki.certificates import Authority

_MAX_CHECKED: Final = 16_384
"""Signatures whose check is remembered. A check takes about 0.1 ms."""


class Origins:
    """Signs the operator's objects, and recognises them.

    Args:
        authority: The CA. Its former key's signatures stay valid while its certificate is trusted.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def sign_pod(self, raw: Mapping[str, Any]) -> str:
        """Return the signature of a pod that the operator has just created."""
        return self._authority.sign(_pod_message(raw))

    def is_own_pod(self, raw: Mapping[str, Any]) -> bool:
        """Return True if the operator created a pod, and its agent's image was not changed since."""
        return self._verify(_pod_message(raw), raw)

    def sign_token(self, session_uid: str, token: bytes) -> str:
        """Return the signature of a session's token."""
        return self._authority.sign(_token_message(session_uid, token))

    def is_own_token(self, session_uid: str, token: bytes, secret: Mapping[str, Any]) -> bool:
        """Return True if the operator made the token in a session's access Secret."""
        return self._verify(_token_message(session_uid, token), secret)

    def _verify(self, message: bytes, raw: Mapping[str, Any]) -> bool:
        signature = (raw["metadata"].get("annotations") or {}).get(naming.ORIGIN) or ""
        return bool(signature) and _is_signed(self._authority.pem, message, signature)


def _pod_message(raw: Mapping[str, Any]) -> bytes:
    metadata, containers = raw["metadata"], (raw.get("spec") or {}).get("containers") or []
    image = next((str(each.get("image") or "") for each in containers if each.get("name") == "agent"), "")
    return "\0".join(("pod", metadata["namespace"], metadata["name"], metadata["uid"], image)).encode()


def _token_message(session_uid: str, token: bytes) -> bytes:
    return b"\0".join((b"token", session_uid.encode(), token))


@lru_cache(_MAX_CHECKED)
def _is_signed(authorities: bytes, message: bytes, signature: str) -> bool:
    try:
        content = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    for key in _public_keys(authorities):
        try:
            key.verify(content, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return True
    return False


@lru_cache(4)
def _public_keys(authorities: bytes) -> tuple[ec.EllipticCurvePublicKey, ...]:
    keys = [certificate.public_key() for certificate in x509.load_pem_x509_certificates(authorities)]
    return tuple(key for key in keys if isinstance(key, ec.EllipticCurvePublicKey))
