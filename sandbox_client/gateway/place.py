"""Chooses between a gateway and a cluster, from options and environment variables. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sandbox_client.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

URL_VARIABLE: Final = "SANDBOX_GATEWAY"
KEY_VARIABLE: Final = "SANDBOX_API_KEY"
_CLUSTER: Final = ("kubeconfig", "kube_context", "in_cluster")


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """A gateway and the means to log in.

    Attributes:
        url: Its address, without a slash at the end.
        api_key: An API key, or a Kubernetes token.
        namespace: The namespace, for a Kubernetes token.
    """

    url: str
    api_key: str = field(repr=False)
    namespace: str = ""


def find_gateway(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> GatewayPlace | None:
    """Return the gateway to use, or None for a cluster.

    Args:
        options: Options of a connect. An option that selects a cluster wins over the environment.
        environ: The environment variables.

    Raises:
        InvalidArgument: There are options of both, the address is no URL, or there is no key.
    """
    given = options.get("gateway")
    cluster = [name for name in _CLUSTER if options.get(name) is not None]
    if given is not None and cluster:
        raise InvalidArgument(
            f"{cluster[0]} selects a cluster, and gateway something else: leave one out", field=cluster[0]
        )
    url = given if given is not None else "" if cluster else environ.get(URL_VARIABLE, "")
    if not url:
        if options.get("api_key") is not None and not cluster:
            message = f"it is for a gateway, and none is given: pass gateway=, or set {URL_VARIABLE}"
            raise InvalidArgument(message, field="api_key")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        message = f"{url!r} is not the address of a gateway: write it as https://sandboxes.example"
        raise InvalidArgument(message, field="gateway")
    key = options.get("api_key") or environ.get(KEY_VARIABLE, "")
    if not key:
        message = f"the gateway {url} needs a key: pass api_key=, or set {KEY_VARIABLE}. `sandbox keys` makes one"
        raise InvalidArgument(message, field="api_key")
    return GatewayPlace(url.rstrip("/"), key, options.get("namespace") or "")
