"""What is kept of an object that was seen: of thousands of them, nearly all of the operator's memory. Pure.

Strings are kept once. Most stand in many objects (names of fields, reasons, a node) or often in one (its uid, a time).
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
_LONGEST_SHARED: Final = 100


def slim(kind: Resource, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object without what nobody here reads."""
    kept = _slim_pod(raw) if kind is PODS else {**raw, "metadata": _slim_metadata(raw["metadata"])}
    return {sys.intern(key): _shared(value) for key, value in kept.items()}


def _slim_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    if annotations := kept.get("annotations"):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return kept


def _slim_pod(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    metadata = _slim_metadata(raw["metadata"])
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
            "containers": [_slim_container(each) for each in spec.get("containers") or []],
        },
        "status": kept,
    }


def _slim_container(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    limits = (raw.get("resources") or {}).get("limits") or {}
    return {"name": raw["name"], "resources": {"limits": {"memory": limits.get("memory")}}}


def _pick(raw: Any, names: tuple[str, ...]) -> Any:
    return {name: raw[name] for name in names if name in raw} if isinstance(raw, dict) else raw


def _shared(value: Any) -> Any:
    """The same value, each short string in it being the only one of its text."""
    if isinstance(value, dict):
        return {sys.intern(str(key)): _shared(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= _LONGEST_SHARED else value
