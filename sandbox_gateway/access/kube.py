"""Requests to the API server about keys and tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sandbox_client.cluster.api import bearer_header, call_api
from sandbox_client.errors import Conflict, NotFound, SandboxUnavailable, Unauthenticated
from sandbox_gateway.access.keys import KEY_LABEL, LAST_USED, SECRET_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION_SECRET: Final = "sandbox-gateway-sessions"  # noqa: S105 - its name
_TIMEOUT: Final = 10.0
_CREATED: Final = range(200, 300)


class KubeAccess:
    """The API server, for keys in one namespace, and for reviews.

    Every method raises SandboxUnavailable if the API server does not respond, or this account lacks a permission.

    Args:
        client: The kubernetes package's ApiClient.
        namespace: The namespace of the keys' Secrets, which only the gateway and administrators may read.
    """

    def __init__(self, client: Any, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    async def list_keys(self) -> list[dict[str, Any]]:
        """Return the Secrets that hold keys."""
        answer = await self._send("keys", "GET", f"{self._secrets}?labelSelector={quote(KEY_LABEL, safe='')}")
        items: list[dict[str, Any]] = answer.get("items") or []
        return items

    async def create_secret(self, secret: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Secret.

        Raises:
            Conflict: There is one of that name.
        """
        return await self._send(f"secret {secret['metadata']['name']}", "POST", self._secrets, secret)

    async def read_secret(self, name: str) -> dict[str, Any]:
        """Return a Secret.

        Raises:
            NotFound: There is none of that name.
        """
        return await self._send(f"secret {name}", "GET", f"{self._secrets}/{quote(name, safe='')}")

    async def session_secret(self) -> bytes:
        """Return the secret that signs tokens of single sessions. Make it if there is none."""
        for _ in range(2):
            with contextlib.suppress(NotFound):
                found = await self.read_secret(SESSION_SECRET)
                return base64.b64decode(found["data"]["secret"])
            value = base64.b64encode(secrets.token_bytes(32)).decode()
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SESSION_SECRET},
                "data": {"secret": value},
            }
            # Of two replicas that start at once, both use the secret of the first.
            with contextlib.suppress(Conflict):
                await self.create_secret(secret)
        return base64.b64decode((await self.read_secret(SESSION_SECRET))["data"]["secret"])

    async def delete_key(self, name: str) -> None:
        """Delete the Secret of a key.

        Raises:
            NotFound: There is no key of that name.
        """
        await self._send(f"key {name}", "DELETE", f"{self._secrets}/{quote(SECRET_PREFIX + name, safe='')}")

    async def write_last_use(self, name: str, moment: str) -> None:
        """Write the time of a key's last use."""
        patch = {"metadata": {"annotations": {LAST_USED: moment}}}
        await self._send(f"key {name}", "PATCH", f"{self._secrets}/{quote(SECRET_PREFIX + name, safe='')}", patch)

    async def review_token(self, token: str) -> dict[str, Any]:
        """Return the status of a TokenReview."""
        return await self._review("authentication", "TokenReview", {"token": token})

    async def review_access(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of a SubjectAccessReview."""
        return await self._review("authorization", "SubjectAccessReview", spec)

    @property
    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/secrets"

    async def _review(self, group: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        api = f"{group}.k8s.io/v1"
        body = {"apiVersion": api, "kind": kind, "spec": dict(spec)}
        answer = await self._send(kind, "POST", f"/apis/{api}/{kind.lower()}s", body)
        status: dict[str, Any] = answer.get("status") or {}
        return status

    async def _send(
        self, subject: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await call_api(subject, self._request, method, path, body)
        except Unauthenticated as error:
            raise SandboxUnavailable(f"missing permission: {error.message}", reason="GATEWAY_FORBIDDEN") from error
        return answer

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {**self._client.default_headers, "content-type": kind, **bearer_header(self._client)}
        answer = self._client.rest_client.pool_manager.request(
            method,
            self._client.configuration.host + path,
            body=None if body is None else json.dumps(body),
            headers={**headers, "accept": "application/json"},
            timeout=_TIMEOUT,
        )
        if answer.status not in _CREATED:
            make_error: Any = ApiException
            error = make_error(answer.status, answer.reason)
            error.body = answer.data
            raise error
        try:
            found = json.loads(answer.data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            message = f"the server at {self._client.configuration.host} is not a Kubernetes API server"
            raise SandboxUnavailable(message, reason="API_SERVER")
        return found
