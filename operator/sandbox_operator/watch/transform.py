"""Strips watched objects of the fields that the operator does not read, before they go into the store. Pure.

With thousands of objects, the store is nearly all of the operator's memory. Equal strings are kept once: most occur in
many objects (field names, reasons, node names) or several times in one (its uid, times).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.kube.resources import Resource

_POD_STATUS: Final = ("phase", "podIP", "reason", "message")
_POD_CONDITIONS: Final = frozenset({"Ready", "PodScheduled"})
_POD_ANNOTATIONS: Final = f"{naming.DOMAIN}/"
_CONTAINER: Final = ("name", "image", "restartCount", "state", "lastState")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_INTERNED: Final = 100
"""Characters. Longer strings are rarely equal."""


def strip_unused(kind: Resource, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object without the fields that the operator does not read."""
    kept = _strip_pod(raw) if kind is PODS else {**raw, "metadata": _strip_metadata(raw["metadata"])}
    return {sys.intern(key): _intern(value) for key, value in kept.items()}


def _strip_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    if annotations := kept.get("annotations"):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return kept


def _strip_pod(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    metadata = _strip_metadata(raw["metadata"])
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {key: value for key, value in annotations.items() if _POD_ANNOTATIONS in key}
    kept = {key: status[key] for key in _POD_STATUS if key in status}
    if "conditions" in status:
        kept["conditions"] = [each for each in status["conditions"] or [] if each.get("type") in _POD_CONDITIONS]
    if "containerStatuses" in status:
        kept["containerStatuses"] = [_pick(each, _CONTAINER) for each in status["containerStatuses"] or []]
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": spec.get("nodeName"),
            "containers": [_strip_container(each) for each in spec.get("containers") or []],
        },
        "status": kept,
    }


def _strip_container(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    limits = (raw.get("resources") or {}).get("limits") or {}
    return {"name": raw["name"], "resources": {"limits": {"memory": limits.get("memory")}}}


def _pick(raw: Any, names: tuple[str, ...]) -> Any:
    return {name: raw[name] for name in names if name in raw} if isinstance(raw, dict) else raw


def _intern(value: Any) -> Any:
    """Return an equal value in which all short strings are interned."""
    if isinstance(value, dict):
        return {sys.intern(str(key)): _intern(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_intern(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= _MAX_INTERNED else value
