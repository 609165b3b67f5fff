"""The kinds of objects the operator touches, and their paths. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GROUP: Final = "sandboxsessions.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """One namespaced kind of the API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As objects say it, such as `networking.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Path of the collection or object; no namespace: the collection of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, *(["namespaces", namespace] if namespace else []), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


SESSIONS: Final = Resource(GROUP, VERSION, "sandboxsessions", "SandboxSession")
TEMPLATES: Final = Resource(GROUP, VERSION, "sandboxtemplates", "SandboxTemplate")
POOLS: Final = Resource(GROUP, VERSION, "sandboxwarmpools", "SandboxWarmPool")
PODS: Final = Resource("", "v1", "pods", "Pod")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
EVENTS: Final = Resource("", "v1", "events", "Event")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
