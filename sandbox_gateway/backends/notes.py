"""The facts that the gateway keeps with a SandboxSession: an annotation, and a label to count by. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.lifecycle.session_info import read_session_info
from sandbox_gateway.backend import GatewaySession
from sandbox_gateway.backends.limits import check_bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_gateway.backend import Caller, NewSession

ANNOTATION: Final = "sandboxsessions.dev/gateway"
"""JSON with the session's owner and its client's metadata."""
OWNER_LABEL: Final = "sandboxsessions.dev/gateway-caller"
ON_EXPIRY: Final = "sandboxsessions.dev/gateway-on-expiry"
"""The value of `spec.lifecycle.onExpiry` from before a suspend that keeps the session."""
_LABEL: Final = re.compile(r"(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def owner_label(caller: Caller) -> str:
    """Return the value of a caller's label: its name, or a hash of a name that labels do not allow."""
    if _LABEL.fullmatch(caller.name):
        return caller.name
    return f"user-{hashlib.sha256(caller.name.encode()).hexdigest()[:32]}"


def write_notes(caller: Caller, new: NewSession) -> dict[str, str]:
    """Return the annotations of a new session."""
    notes = {"owner": caller.name, "metadata": dict(new.metadata), "seconds": new.seconds, "key": caller.key_id}
    return {ANNOTATION: json.dumps(notes, ensure_ascii=False)}


def read_kept_choice(session: GatewaySession) -> str:
    """Return what happened at a session's end before it was suspended to be kept: `Delete`, `Suspend`, or ""."""
    metadata = session.info.resource.get("metadata") or {}
    choice = (metadata.get("annotations") or {}).get(ON_EXPIRY)
    return choice if choice in ("Delete", "Suspend") else ""


def read_session(resource: Mapping[str, Any]) -> GatewaySession:
    """Return a SandboxSession as doors see it. Users may write annotations, so a damaged one counts as none."""
    metadata = resource.get("metadata") or {}
    try:
        notes = json.loads((metadata.get("annotations") or {})[ANNOTATION])
        owner, key_id = str(notes.get("owner") or ""), str(notes.get("key") or "")
        words = {str(key): str(value) for key, value in (notes.get("metadata") or {}).items()}
        seconds = None if notes.get("seconds") is None else check_bound(float(notes["seconds"]))
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError, OverflowError, InvalidArgument):
        owner, key_id, words, seconds = "", "", {}, None
    uid = str(metadata.get("uid") or "")
    info = read_session_info(resource)
    return GatewaySession(info, words, owner=owner, uid=uid, seconds=seconds, key_id=key_id)
