"""The kinds of objects that the operator uses, and their paths in the API. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandbox_operator.errors import NotFoundError

GROUP: Final = "sandboxsessions.dev"
VERSION: Final = "v1alpha1"
_NOT_IN_PATHS: Final = frozenset("/%?#\\")
"""Characters that end a part of a URL's path, or encode one that does."""
_MAX_SHOWN: Final = 253


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
        """Return the path of an object or, without a name, of a collection. Without a namespace, of all namespaces.

        Raises:
            NotFoundError: No object can have such a name. It would lead to another object.
        """
        for part in (namespace or "", name):
            if part in {".", ".."} or not _NOT_IN_PATHS.isdisjoint(part):
                raise NotFoundError(404, "NotFound", f"{self.plural} {part[:_MAX_SHOWN]!r} cannot exist")
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
