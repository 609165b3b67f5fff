"""Strips watched objects of the fields that the operator does not read, before they go into the store. Pure.

With thousands of objects, the store is nearly all of the operator's memory. Equal strings are kept once: most occur in
many objects (field names, reasons, node names) or several times in one (its uid, times).

Tenants write most of these objects, up to 1.5 MB each. So what is kept of one is bounded. Labels and annotations are
the operator's own. A session's large environment is read again at Bind. A template that is too large is not kept.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, SESSIONS, TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.kube.resources import Resource

_POD_STATUS: Final = ("phase", "podIP", "reason", "message")
_POD_CONDITIONS: Final = frozenset({"Ready", "PodScheduled"})
_OWN: Final = frozenset(
    {
        *(naming.MANAGED_BY, naming.STATE, naming.TEMPLATE, naming.EGRESS, naming.SESSION, naming.POOL),
        *(naming.POD_HASH, naming.CLAIMED_AT, naming.SUSPENDED_BY, naming.ORIGIN),
    }
)
"""The labels and annotations that the operator reads."""
_METADATA: Final = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "generateName"),
    *("creationTimestamp", "deletionTimestamp"),
)
_CONTAINER: Final = ("name", "image", "restartCount", "state", "lastState")
_CONTAINERS: Final = frozenset({"agent", "sandbox"})
_MAX_INTERNED: Final = 100
"""Characters. Longer strings are rarely equal."""
_MAX_TEXT: Final = 1000
"""Characters of a text in a status, such as the message of a condition."""
_MAX_LIST: Final = 9
"""Items of a list in a status. The operator writes fewer conditions and files, so it replaces a longer list."""
_MAX_OWN: Final = 256
"""Characters of one of the operator's own labels or annotations. Longer values were forged."""
_MAX_KEPT: Final = 4096
"""Characters of a session's `env` and `workspace.exclude`, as JSON, that are kept. Larger ones are needed only at Bind,
which then reads the session again."""
_MAX_NAMES: Final = 16_384
"""Characters of a session's `env` without its values that are kept, so that most refusals come before a pod."""
MAX_TEMPLATE: Final = 256 * 1024
"""Characters of a template's spec, as JSON. A larger template is refused."""


def strip_unused(kind: Resource, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object without the fields that the operator does not read."""
    if kind is PODS:
        kept = _strip_pod(raw)
    else:
        kept = {**raw, "metadata": _strip_metadata(raw["metadata"])}
        if "status" in kept:
            kept["status"] = _shorten(kept["status"])
        if kind is SESSIONS:
            _abridge(kept)
        elif kind is TEMPLATES and _length(kept.get("spec")) > MAX_TEMPLATE:
            kept["spec"], kept["metadata"]["abridged"] = {}, True
    return {sys.intern(key): _intern(value) for key, value in kept.items()}


def _strip_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: metadata[key] for key in _METADATA if key in metadata}
    for name in ("labels", "annotations"):
        values = metadata.get(name) or {}
        if own := {key: values[key] for key in values.keys() & _OWN if len(values[key]) <= _MAX_OWN}:
            kept[name] = own
    controllers = [each for each in metadata.get("ownerReferences") or [] if each.get("controller")]
    if controllers:
        kept["ownerReferences"] = controllers[:1]
    return kept


def _abridge(session: dict[str, Any]) -> None:
    """Leave out a large environment's values, and its names too if they are large."""
    spec = session.get("spec") or {}
    env, workspace = spec.get("env"), spec.get("workspace")
    exclude = workspace.get("exclude") if isinstance(workspace, dict) else None
    if _length([env, exclude]) <= _MAX_KEPT:
        return
    session["metadata"]["abridged"] = True
    names = [{key: each[key] for key in ("name", "secretKeyRef") if key in each} for each in env or [] if each]
    spec = {**spec, "env": names if _length(names) <= _MAX_NAMES else []}
    if isinstance(workspace, dict):
        spec["workspace"] = {key: value for key, value in workspace.items() if key != "exclude"}
    session["spec"] = spec


def _length(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) if value else 0


def _strip_pod(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    kept = {key: status[key] for key in _POD_STATUS if key in status}
    if "conditions" in status:
        kept["conditions"] = [each for each in status["conditions"] or [] if each.get("type") in _POD_CONDITIONS]
    if "containerStatuses" in status:
        kept["containerStatuses"] = [_pick(each, _CONTAINER) for each in _known(status["containerStatuses"])]
    return {
        "metadata": _strip_metadata(raw["metadata"]),
        "spec": {
            "nodeName": spec.get("nodeName"),
            "containers": [_strip_container(each) for each in _known(spec.get("containers"))],
        },
        "status": _shorten(kept),
    }


def _known(containers: Any) -> list[Any]:
    return [each for each in containers or [] if not isinstance(each, dict) or each.get("name") in _CONTAINERS]


def _strip_container(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    limits = (raw.get("resources") or {}).get("limits") or {}
    kept = {kind: limits[kind] for kind in ("cpu", "memory") if limits.get(kind)}
    return {"name": raw["name"], "image": raw.get("image"), "resources": {"limits": kept}}


def _shorten(value: Any) -> Any:
    """Return an equal value in which no text is longer than the operator itself writes one."""
    if isinstance(value, dict):
        return {key: _shorten(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value[:_MAX_LIST]]
    return value[:_MAX_TEXT] if isinstance(value, str) else value


def _pick(raw: Any, names: tuple[str, ...]) -> Any:
    return {name: raw[name] for name in names if name in raw} if isinstance(raw, dict) else raw


def _intern(value: Any) -> Any:
    """Return an equal value in which all short strings are interned."""
    if isinstance(value, dict):
        return {sys.intern(str(key)): _intern(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_intern(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= _MAX_INTERNED else value
