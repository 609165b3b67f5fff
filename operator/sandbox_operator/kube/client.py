"""A small client of the API server over one bounded HTTP session. Errors are typed, and the lease gates writes.

All permissions that the operator needs:
    sandboxsessions.dev  sandboxsessions                   get list watch patch delete
    sandboxsessions.dev  sandboxsessions/status            patch
    sandboxsessions.dev  sandboxtemplates sandboxwarmpools get list watch
    sandboxsessions.dev  sandboxwarmpools/status           patch
    ""                   pods                              get list watch create patch delete
    ""                   secrets                           get create patch   (session namespaces; never list or watch)
    ""                   events                            create
    networking.k8s.io    networkpolicies                   create patch       (server-side apply)
    coordination.k8s.io  leases                            get create patch   (own namespace only)
    ""                   secrets                           get create patch   (own namespace: the CA)
    apiextensions.k8s.io customresourcedefinitions         get create patch   (only the chart's hook, for our three)
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

import aiohttp

from sandbox_operator.errors import AnswerTooLargeError, NotLeadingError, UnavailableError, api_error
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox_operator.kube.connection import Connection
    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.kube.write_hook import WriteHook

PatchKind = Literal["json", "merge", "apply"]
Object = dict[str, Any]

FIELD_MANAGER: Final = "sandbox-operator"
_CONTENT_TYPES: Final = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_PAGE_SIZE: Final = 100
"""Objects in one page of a list. Parsing a page of pods blocks the event loop for some milliseconds."""
_MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer. One object has at most about 3 MB, but tenants decide how large the objects of a page are."""
_MAX_CONNECTIONS: Final = 20
_REQUEST_TIMEOUT: Final = 15.0
_MAX_ATTEMPTS: Final = 3
_MAX_RETRY_AFTER: Final = 5.0


class KubeApi(Protocol):
    """The calls to the API server that the operator makes. `sandbox_testing` has one in memory."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object.

        Raises:
            NotFoundError: It does not exist.
        """
        ...

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
        """
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: object,
        kind: PatchKind = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch an object and return it as stored. The kind `apply` is a forced server-side apply."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> Object:
        """Delete an object and return the server's response. With `uid` or `version`, only if the object still has it.

        Raises:
            ConflictError: The object has another uid or resourceVersion.
        """
        ...


def _always() -> bool:
    return True


class KubeClient:
    """KubeApi over HTTP, an async context manager.

    Args:
        connection: Address and identity.
        write_hook: Called around each write.
        may_write: Returns True if this replica holds the lease.
        on_call: Called with method, plural, status (0 if there was no response) and seconds of each request.
    """

    def __init__(
        self,
        connection: Connection,
        write_hook: WriteHook,
        may_write: Callable[[], bool] = _always,
        on_call: Callable[[str, str, int, float], None] = lambda *_: None,
    ) -> None:
        self._connection, self._write_hook = connection, write_hook
        self._may_write, self._on_call = may_write, on_call
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._connection.open_session(_MAX_CONNECTIONS, total=_REQUEST_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object. Tries again if the API server is unavailable."""
        return await self._read(resource, resource.path(namespace, name), {})

    async def pages(
        self, resource: Resource, namespace: str | None, labels: str = ""
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Yield the objects that a label selector matches, page by page, with the list's resourceVersion.

        Args:
            resource: Kind of the objects.
            namespace: Namespace, or None for all.
            labels: Label selector, or "" for all objects.
        """
        parameters = {"labelSelector": labels} if labels else {}
        size = _PAGE_SIZE
        while True:
            try:
                page = await self._read(resource, resource.path(namespace), {**parameters, "limit": str(size)})
            except AnswerTooLargeError:
                if size == 1:
                    raise
                size = max(1, size // 4)
                continue
            size = min(_PAGE_SIZE, size * 2)
            metadata = page.get("metadata") or {}
            yield page.pop("items", None) or [], str(metadata.get("resourceVersion") or "0")
            if not metadata.get("continue"):
                return
            parameters["continue"] = metadata["continue"]

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object and return it as stored."""
        return await self._write("POST", resource, resource.path(namespace), body, "application/json")

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: object,
        kind: PatchKind = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch an object and return it as stored."""
        parameters = {"force": "true"} if kind == "apply" else {}
        path = resource.path(namespace, name, subresource)
        return await self._write("PATCH", resource, path, body, _CONTENT_TYPES[kind], parameters)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> Object:
        """Delete an object, which also deletes what it owns, and return the server's response."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        conditions = {"uid": uid, "resourceVersion": version}
        if uid or version:
            options["preconditions"] = {name: value for name, value in conditions.items() if value}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return await self._write("DELETE", resource, resource.path(namespace, name), options, "application/json")

    async def _read(self, resource: Resource, path: str, parameters: dict[str, str]) -> Object:
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                return await self._request("GET", resource, path, parameters)
            except UnavailableError as error:
                if attempt == _MAX_ATTEMPTS:
                    raise
                await asyncio.sleep(min(error.retry_after or 0.1 * attempt, _MAX_RETRY_AFTER))
        raise AssertionError("unreachable")

    async def _write(
        self,
        method: str,
        resource: Resource,
        path: str,
        body: object,
        content: str,
        parameters: dict[str, str] | None = None,
    ) -> Object:
        """Send one write. Only 429 is retried: after any other failure, the write may have happened."""
        parameters = {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER, **(parameters or {})}
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            if not self._may_write() and resource.plural != "leases":
                raise NotLeadingError(f"{method} {resource.plural} without the lease")
            counted = resource.plural not in {"leases", "events"}
            number = self._write_hook.before_write() if counted else 0
            try:
                return await self._request(method, resource, path, parameters, body, content)
            except UnavailableError as error:
                if error.status != 429 or attempt == _MAX_ATTEMPTS:  # noqa: PLR2004 - HTTP
                    raise
                await asyncio.sleep(min(error.retry_after or 0.2 * attempt, _MAX_RETRY_AFTER))
            finally:
                self._write_hook.after_write(number)
        raise AssertionError("unreachable")

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        parameters: dict[str, str],
        body: object = None,
        content: str = "",
    ) -> Object:
        if self._session is None:
            raise RuntimeError("enter the client as an async context manager first")
        headers = {**self._connection.headers(), "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = content
            data = json.dumps(body, separators=(",", ":")).encode()
        status, began = 0, time.perf_counter()
        try:
            # Calls outside a session's trace, such as renewals of the lease, are not traced.
            with tracing.span(f"{method} {resource.plural}", only_within=True):
                async with self._session.request(
                    method, self._connection.server + path, params=parameters, data=data, headers=headers
                ) as response:
                    status, text = response.status, await _read_body(response)
                after = response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(0, "NoAnswer", f"{method} {path}: {error!r}") from error
        finally:
            self._on_call(method, resource.plural, status, time.perf_counter() - began)
        answer = _decode(text)
        if status >= 400:  # noqa: PLR2004 - HTTP
            raise api_error(status, answer, float(after) if after.isdigit() else None)
        return answer


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer. Stops reading when it is too large."""
    parts, total = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        total += len(part)
        if total > _MAX_ANSWER:
            response.close()
            raise AnswerTooLargeError(response.status, "TooLarge", f"the answer has more than {_MAX_ANSWER} bytes")
    return b"".join(parts)


def _decode(text: bytes) -> Object:
    try:
        value = json.loads(text)
    except ValueError:
        return {"message": text[:200].decode(errors="replace")}
    return value if isinstance(value, dict) else {}
