"""The Secret with a pod's certificate, and the Secret with a session's address and token. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.ownership import owner_reference

if TYPE_CHECKING:
    from sandbox_operator.api.models import Metadata, Session
    from sandbox_operator.pki.certificates import KeyPair


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that a client needs to reach a session."""

    token: str = field(repr=False)
    origin: str
    """Signature that proves that the operator made the token."""
    ca: bytes = field(repr=False)
    endpoint: str
    server_name: str
    pod_name: str


def build_tls_secret(session: Session, pair: KeyPair, ca: bytes) -> dict[str, Any]:
    """Build the Secret with the agent's certificate of a session's own pod. Only the agent container mounts it."""
    name = naming.tls_secret_name(naming.pod_name(session))
    return _build(name, session.metadata.namespace, _owned_by(session), _certificate(pair, ca))


def build_blank_tls_secret(pod: Metadata, pair: KeyPair, ca: bytes) -> dict[str, Any]:
    """Build the Secret with the agent's certificate of a pool's pod. The pod owns it, so both are deleted together."""
    owned = {"labels": {naming.MANAGED_BY: naming.MANAGER}, "ownerReferences": [owner_reference(PODS, pod)]}
    return _build(naming.tls_secret_name(pod.name), pod.namespace, owned, _certificate(pair, ca))


def build_access_secret(session: Session, access: Access) -> dict[str, Any]:
    """Build the Secret with token, CA and address. Anyone who may read Secrets of the namespace can use the session."""
    content = {
        "token": access.token.encode(),
        "ca.crt": access.ca,
        "endpoint": access.endpoint.encode(),
        "serverName": access.server_name.encode(),
        "podName": access.pod_name.encode(),
    }
    name = naming.access_secret_name(session.metadata.name)
    owned = {**_owned_by(session), "annotations": {naming.ORIGIN: access.origin}}
    return _build(name, session.metadata.namespace, owned, content)


def _certificate(pair: KeyPair, ca: bytes) -> dict[str, bytes]:
    return {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": ca}


def _owned_by(session: Session) -> dict[str, Any]:
    return {
        "labels": {naming.MANAGED_BY: naming.MANAGER, naming.SESSION: session.metadata.uid},
        "ownerReferences": [owner_reference(SESSIONS, session.metadata)],
    }


def _build(name: str, namespace: str, owned: dict[str, Any], content: dict[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace, **owned},
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }
