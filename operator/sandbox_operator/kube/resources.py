"""The kinds of objects that the operator uses, and their paths in the API. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GROUP: Final = "sandboxsessions.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of the API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return the `apiVersion` of objects, such as `networking.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of an object or, without a name, of a collection. Without a namespace, of all namespaces."""
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
DEFINITIONS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
"""The one kind here without a namespace."""
