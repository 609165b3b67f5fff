"""Explains why a client in a pod cannot reach a session's pod, before a call would wait for a connection in vain.

A NetworkPolicy drops packets, so a client without the label would see a timeout, which says nothing.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import is_in_pod, read_core_object
from sandbox_client.errors import SandboxError, SandboxUnavailable

if TYPE_CHECKING:
    from sandbox_client.transport.endpoint import Endpoint

CLIENT_LABEL: Final = "sandboxsessions.dev/client"
_SECONDS: Final = 5.0
"""Time for the first connection. A CNI may need a few seconds to let a new pod through."""


async def check_reach(client: Any, namespace: str, endpoint: Endpoint) -> None:
    """Connect to an agent's port once, without a call. Does nothing outside a pod.

    Args:
        client: The kubernetes package's ApiClient.
        namespace: The session's namespace.
        endpoint: The agent.

    Raises:
        SandboxUnavailable: Nothing answered. Any other failure is left to the first call, which reports it.
    """
    if not is_in_pod():
        return
    host, _, port = endpoint.address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        raise SandboxUnavailable(
            f"the session's pod at {endpoint.address} did not answer within {_SECONDS:g} s. "
            + await _explain(client, namespace),
            reason="UNREACHABLE",
        ) from None
    except OSError:
        return
    writer.close()


async def _explain(client: Any, namespace: str) -> str:
    own = os.environ.get("HOSTNAME", "")
    advice = (
        f"NetworkPolicies admit only pods in the namespace {namespace} with the label {CLIENT_LABEL}=true: add it to "
        "this pod's metadata.labels (examples/agent-deployment.yaml)"
    )
    try:
        pod = await read_core_object(f"pod {own}", client, "namespaces", namespace, "pods", own)
    except SandboxError as error:
        if error.reason == "NOT_FOUND":
            return f"This pod is not there. {advice}, or list its labels in the template's ingressFrom."
        # Few clients may read pods.
        return f"{advice}."
    if pod.get("metadata", {}).get("labels", {}).get(CLIENT_LABEL) != "true":
        return f"This pod lacks a label. {advice}."
    return (
        f"This pod has the label {CLIENT_LABEL}=true, so another NetworkPolicy keeps it from the session, such as one "
        f"that denies egress from the namespace {namespace}."
    )
