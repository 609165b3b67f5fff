"""The two Secrets of a session. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox_operator.api import naming
from sandbox_operator.manifests.ownership import owner_reference

if TYPE_CHECKING:
    from sandbox_operator.api.models import Session
    from sandbox_operator.certificates import KeyPair


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to reach a session."""

    token: str = field(repr=False)
    ca: bytes = field(repr=False)
    endpoint: str
    server_name: str
    pod_name: str


def build_tls_secret(session: Session, pair: KeyPair, ca: bytes) -> dict[str, Any]:
    """The certificate of a session's agent; mounted into the agent container only."""
    content = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": ca}
    return _build(session, naming.tls_secret_name(naming.pod_name(session)), content)


def build_access_secret(session: Session, access: Access) -> dict[str, Any]:
    """Token, CA and address, for whoever may read Secrets of the session's namespace."""
    content = {
        "token": access.token.encode(),
        "ca.crt": access.ca,
        "endpoint": access.endpoint.encode(),
        "serverName": access.server_name.encode(),
        "podName": access.pod_name.encode(),
    }
    return _build(session, naming.access_secret_name(session.metadata.name), content)


def _build(session: Session, name: str, content: dict[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": session.metadata.namespace,
            "labels": {naming.MANAGED_BY: naming.MANAGER, naming.SESSION: session.metadata.uid},
            "ownerReferences": [owner_reference(session)],
        },
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }
