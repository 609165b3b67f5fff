"""Requests to the API server for any kind of object, with the caller's kubeconfig or a pod's service account."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import urllib3

from sandbox_client.cluster.api import bearer_header, open_client
from sandbox_client.errors import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.cluster.api import ClusterOptions

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT: Final = 15.0
"""Seconds for one request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The API server's answer to one request.

    Attributes:
        status: HTTP status.
        body: The object, or an empty one if the answer is not JSON.
        text: The answer as text.
        clock_offset: Seconds that the server's clock is ahead of this machine's; None if it sent no time.
    """

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    clock_offset: float | None = None

    @property
    def is_ok(self) -> bool:
        """True if the request succeeded."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_refused(self) -> bool:
        """True if the caller lacks the permission."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

    @property
    def problem(self) -> str:
        """The server's message."""
        return str(self.body.get("message") or f"HTTP status {self.status}")

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects of a list."""
        found = self.body.get("items")
        return found if isinstance(found, list) else []


class KubeHttp:
    """A cluster's API server, its namespace for sessions, and how to reach pods.

    Attributes:
        server: URL of the API server.
        namespace: The namespace of the sessions.
        is_direct: Whether to connect to pods at their own addresses.
        client: The kubernetes package's ApiClient, for port-forwards. None in a pod.
    """

    def __init__(
        self,
        server: str,
        namespace: str,
        pool: Any,
        headers: Mapping[str, str],
        *,
        is_direct: bool,
        client: Any = None,
    ) -> None:
        self.server = server
        self.namespace = namespace
        self.is_direct = is_direct
        self.client = client
        self._pool = pool
        self._headers = {**headers, "accept": "application/json, */*"}

    async def get(self, *segments: str, **query: str) -> Answer:
        """GET the path that these segments form.

        Raises:
            SandboxUnavailable: The API server does not respond.
        """
        return await self._request("GET", segments, None, query)

    async def post(self, body: Mapping[str, Any], *segments: str, **query: str) -> Answer:
        """POST an object. Errors as for `get`."""
        return await self._request("POST", segments, body, query)

    async def delete(self, *segments: str, **query: str) -> Answer:
        """DELETE an object. Errors as for `get`."""
        return await self._request("DELETE", segments, None, query)

    async def _request(
        self, method: str, segments: tuple[str, ...], body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> Answer:
        return await asyncio.to_thread(self._send, method, segments, body, query)

    def _send(
        self, method: str, segments: tuple[str, ...], body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> Answer:
        url = f"{self.server}/" + "/".join(quote(segment, safe="") for segment in segments)
        if query:
            url += "?" + "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
        headers, content = dict(self._headers), None
        if body is not None:
            headers["content-type"], content = "application/json", json.dumps(body)
        began = time.time()
        try:
            answer = self._pool.request(
                method, url, body=content, headers=headers, timeout=_TIMEOUT, retries=False, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SandboxUnavailable(
                f"the API server {self.server} does not respond: {error}", reason="API_SERVER"
            ) from error
        return _read(answer, (began + time.time()) / 2)


def _read(answer: Any, now: float) -> Answer:
    text = answer.data.decode(errors="replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    try:
        # The header has whole seconds.
        offset = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() + 0.5 - now
    except (TypeError, ValueError):
        offset = None
    return Answer(answer.status, body if isinstance(body, dict) else {}, text, offset)


def open_api(options: ClusterOptions) -> KubeHttp:
    """Read the kubeconfig, or this pod's service account.

    Raises:
        SandboxUnavailable: There is no kubeconfig and no service account.
    """
    token = _ACCOUNT / "token"
    if options.kubeconfig is None and options.kube_context is None and options.in_cluster is not False:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if host and token.exists():
            namespace = options.namespace or (_ACCOUNT / "namespace").read_text().strip()
            pool = urllib3.PoolManager(ca_certs=str(_ACCOUNT / "ca.crt"))
            headers = {"authorization": f"Bearer {token.read_text().strip()}"}
            address = f"[{host}]" if ":" in host else host
            return KubeHttp(f"https://{address}:{port}", namespace, pool, headers, is_direct=True)
    client, namespace, is_direct = open_client(options)
    headers = {**client.default_headers, **bearer_header(client)}
    pool = client.rest_client.pool_manager
    return KubeHttp(client.configuration.host, namespace, pool, headers, is_direct=is_direct, client=client)
