"""Reads what decides how a session of the cluster behaves: its own spec and its template's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox_client.cluster.api import call_api, open_client
from sandbox_client.cluster.sessions import GROUP, PLURAL, VERSION
from sandbox_client.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.cluster.api import ClusterOptions

_TEMPLATES = "sandboxtemplates"
_SECONDS = 10


async def read_specs(options: ClusterOptions, name: str, template: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the spec of a session, and that of its template. Each is empty if it does not exist or cannot be read.

    Args:
        options: The cluster and namespace.
        name: The session.
        template: The template, if there is no such session yet.

    Raises:
        SandboxUnavailable: There is no kubeconfig.
    """
    from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

    client, namespace, _ = open_client(options)
    read = CustomObjectsApi(client).get_namespaced_custom_object

    async def spec_of(plural: str, which: str) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = await call_api(
                f"{plural} {which}", read, GROUP, VERSION, namespace, plural, which, _request_timeout=_SECONDS
            )
        except SandboxError:
            # It may not exist yet, and a client need not be allowed to read templates.
            return {}
        spec: Mapping[str, Any] = found.get("spec") or {}
        return spec

    session = await spec_of(PLURAL, name)
    return session, await spec_of(_TEMPLATES, (session.get("templateRef") or {}).get("name") or template)
