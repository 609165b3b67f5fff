"""Names, labels and ports, as docs/pod-contract.md defines them. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Session
    from sandbox_operator.api.session_spec import Egress

DOMAIN: Final = "sandboxsessions.dev"
MANAGED_BY: Final = f"{DOMAIN}/managed-by"
MANAGER: Final = "sandbox-operator"
STATE: Final = f"{DOMAIN}/state"
TEMPLATE: Final = f"{DOMAIN}/template"
EGRESS: Final = f"{DOMAIN}/egress"
SESSION: Final = f"{DOMAIN}/session"
CLIENT: Final = f"{DOMAIN}/client"
POOL: Final = f"{DOMAIN}/pool"
"""Label with the warm pool that a pod was made for. It stays when a session claims the pod."""
POD_HASH: Final = f"{DOMAIN}/pod-hash"
"""Label of a pool's pod: a hash of the template's values in it. Sessions claim only pods with the current hash."""
CLAIMED_AT: Final = f"{DOMAIN}/claimed-at"
"""Annotation of a pool's pod: the time at which a session claimed it. Empty while the pod is blank."""
ORIGIN: Final = f"{DOMAIN}/origin"
"""Annotation of a pod or an access Secret: a signature that proves that the operator made it."""
BLANK: Final = "blank"
BOUND: Final = "bound"
SUSPENDED_BY: Final = f"{DOMAIN}/suspended-by"
"""Annotation on a session that the operator suspended: `<reason>/<generation after that>`. A later change of the spec
makes it void, so a session that a user suspends by hand is never mistaken for an expired one."""

GRPC_PORT: Final = 8443
CONTROL_PORT: Final = 8444
HEALTH_PORT: Final = 8081
_NAME_PART: Final = 40


def pod_name(session: Session) -> str:
    """Return the name of a session's pod. It is always the same, and no other session ever has it."""
    digest = hashlib.sha256(session.metadata.uid.encode()).hexdigest()[:8]
    return f"sbx-{session.metadata.name[:_NAME_PART].strip('.-').replace('.', '-')}-{digest}"


def pool_pod_name(pool: str, unique: str) -> str:
    """Return the name of a pool's pod, which stays when a session claims the pod."""
    return f"sbx-{pool[:_NAME_PART].strip('-')}-{unique}"


def is_labelled_blank(raw: Mapping[str, Any]) -> bool:
    """Return whether the label of a pod says that no session has claimed it."""
    return (raw["metadata"].get("labels") or {}).get(STATE) == BLANK


def pool_selector(pool: str) -> str:
    """Return the label selector of a pool's blank pods, for its scale subresource."""
    return f"{POOL}={pool},{STATE}={BLANK}"


def server_name(pod: str, namespace: str) -> str:
    """Return the DNS name in the certificate of a pod's agent."""
    return f"{pod}.{namespace}.{DOMAIN}"


def tls_secret_name(pod: str) -> str:
    """Return the name of the Secret with a pod's certificate."""
    return f"{pod}-tls"


def access_secret_name(session: str) -> str:
    """Return the name of the Secret with the token and address that a client needs to reach a session."""
    return f"{session}-access"


def policy_name(template: str, egress: Egress) -> str:
    """Return the name of the NetworkPolicy for sessions with this egress. The narrowest one also covers blank pods."""
    return f"sandbox-{template}-{egress.value.lower()}"


def key_prefix(prefix: str, namespace: str, workspace: str) -> str:
    """Return the prefix of a workspace's keys in object storage."""
    return "/".join(part for part in (prefix, namespace, workspace) if part) + "/"
