"""Checks of the parts that a template adds to pods, so that none of them weakens a session's isolation. Pure.

Annotations and labels configure container runtimes, networks, devices and injected sidecars. No list of the dangerous
ones is complete. So only harmless ones are allowed; the installer may allow more, except those in `_NEVER`.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from sandbox_operator.kube.resources import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RESERVED_FOLDERS: Final = (
    *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys"),
    *("tmp", "usr", "var", "workspace"),
)
"""Folders at the root of the file system in which nothing may be mounted: the runtime, its sockets, devices, and the
session's own volumes are there."""
MAX_MOUNT_NAME: Final = 56

_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_DOMAIN: Final = 253
_HARMLESS_LABELS: Final = ("app.kubernetes.io/*",)
_HARMLESS_ANNOTATIONS: Final = (
    "cluster-autoscaler.kubernetes.io/safe-to-evict*",
    "descheduler.alpha.kubernetes.io/*",
    "karpenter.sh/do-not-disrupt",
    "kubernetes.io/egress-bandwidth",
    "kubernetes.io/ingress-bandwidth",
    "prometheus.io/*",
)
_NEVER: Final = (
    "*apparmor*",
    "*seccomp*",
    "io.kubernetes.cri*",
    "*crio.io*",
    "io.containerd.*",
    "io.katacontainers.*",
    "dev.gvisor.*",
    "run.oci.*",
    "org.systemd.property.*",
    "*cdi.k8s.io/*",
    "*nri.io*",
    "*cni.cncf.io/*",
    "*multus*",
    "azure.workload.identity/*",
    "iam.amazonaws.com/*",
)
"""Security profiles, options of container runtimes, devices, further networks, and cloud identities."""


def check_names(values: Mapping[str, str]) -> None:
    """Check the form of labels' or annotations' keys, and that no key is one that is never allowed.

    Raises:
        ValueError: A key is malformed, or belongs to the operator, or configures a pod's isolation.
    """
    for key in values:
        domain, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not _is_domain(domain)):
            raise ValueError(f"{key!r} is not a valid key such as team or example.com/team")
        if domain == GROUP or domain.endswith(f".{GROUP}"):
            raise ValueError(f"{key} belongs to the operator; use another key")
        if any(fnmatchcase(key.lower(), pattern) for pattern in _NEVER):
            raise ValueError(f"{key} could weaken the isolation of sessions, so it is never allowed")


def _is_domain(text: str) -> bool:
    return len(text) <= _MAX_DOMAIN and _DOMAIN.fullmatch(text) is not None


def check_label_values(labels: Mapping[str, str]) -> None:
    """Check the form of labels' values.

    Raises:
        ValueError: A value is malformed.
    """
    for key, value in labels.items():
        if value and not _NAME.fullmatch(value):
            raise ValueError(f"{key}: {value[:80]!r} is not a valid value of a label")


def find_unknown_label(labels: Iterable[str], allowed: Iterable[str]) -> str:
    """Return the first label that is neither harmless nor allowed by the installer, or ""."""
    return _find_unknown(labels, (*_HARMLESS_LABELS, *allowed))


def find_unknown_annotation(annotations: Iterable[str], allowed: Iterable[str]) -> str:
    """Return the first annotation that is neither harmless nor allowed by the installer, or ""."""
    return _find_unknown(annotations, (*_HARMLESS_ANNOTATIONS, *allowed))


def _find_unknown(keys: Iterable[str], patterns: tuple[str, ...]) -> str:
    # By convention, a key without a domain is private to the user. Some runtimes use keys that have dots only.
    unknown = (key for key in keys if "/" in key or "." in key)
    return next((key for key in unknown if not any(fnmatchcase(key, pattern) for pattern in patterns)), "")


def check_extended(resources: Mapping[str, int]) -> None:
    """Check the names of extended resources.

    Raises:
        ValueError: A name is malformed or belongs to Kubernetes.
    """
    for key in resources:
        domain, slash, name = key.rpartition("/")
        if not slash or not _NAME.fullmatch(name) or not _is_domain(domain):
            raise ValueError(f"{key!r} is not an extended resource such as nvidia.com/gpu")
        if domain == "kubernetes.io" or domain.endswith(".kubernetes.io"):
            raise ValueError(f"{key} is not an extended resource: use resources.default for those of Kubernetes")


def check_mount_path(path: str) -> str:
    """Check where a volume is mounted.

    Raises:
        ValueError: The path is not absolute and normal, or would cover a part of the runtime or of the session.
    """
    first, *rest = path.split("/")[1:] or [""]
    if not path.startswith("/") or any(part in {"", ".", ".."} for part in (first, *rest)):
        raise ValueError(f"{path!r} must be an absolute path such as /models, without '.', '..' and empty parts")
    if first in RESERVED_FOLDERS:
        raise ValueError(f"{path} is inside /{first}, which belongs to the sandbox; mount at a path such as /models")
    return path


def check_mounts(mounts: Iterable[tuple[str, str]]) -> None:
    """Check the names and paths of all mounts together.

    Raises:
        ValueError: Two mounts have the same name, or one covers another.
    """
    names: set[str] = set()
    paths: list[str] = []
    for name, path in mounts:
        if name in names:
            raise ValueError(f"two mounts have the name {name}")
        for other in paths:
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                raise ValueError(f"{path} and {other} must not be inside each other")
        names.add(name)
        paths.append(path)
