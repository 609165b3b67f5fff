"""The edge to the `kubernetes` package: its configuration, its errors made ours, and what an access Secret holds."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sandbox_client.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
    Unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT: Final = 15.0
"""Seconds that an answer may take."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster and namespace; `AsyncSandbox.connect` describes each field."""

    namespace: str | None = None
    kubeconfig: str | None = None
    kube_context: str | None = None
    in_cluster: bool | None = None


def open_client(options: ClusterOptions) -> tuple[Any, str, bool]:
    """The API client, the namespace, and whether pods are dialled at their own addresses.

    Raises:
        SandboxUnavailable: There is no kubeconfig and no service account.
    """
    import kubernetes  # noqa: PLC0415 - slow to import

    client: Any = kubernetes.client
    config: Any = kubernetes.config

    is_inside = _NAMESPACE_FILE.exists() and options.kubeconfig is None and options.kube_context is None
    configuration = client.Configuration()
    try:
        if is_inside:
            config.load_incluster_config(client_configuration=configuration)
            default = _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
        else:
            path = options.kubeconfig or os.environ.get("KUBECONFIG") or None
            config.load_kube_config(path, options.kube_context, configuration, persist_config=False)
            default = _namespace_of(config, path, options.kube_context)
    except config.ConfigException as error:
        raise SandboxUnavailable(
            f"no cluster to talk to: {str(error).rstrip('.')}. Give --kubeconfig or set KUBECONFIG.",
            reason="NO_KUBECONFIG",
        ) from error
    is_direct = is_inside if options.in_cluster is None else options.in_cluster
    return client.ApiClient(configuration), options.namespace or default, is_direct


def _namespace_of(config: Any, path: str | None, kube_context: str | None) -> str:
    contexts, current = config.list_kube_config_contexts(path)
    chosen = next((context for context in contexts if context["name"] == kube_context), current)
    return str(chosen.get("context", {}).get("namespace") or "default")


def read_access(secret_name: str, data: Mapping[str, str]) -> dict[str, bytes]:
    """The fields of an access Secret, decoded.

    Raises:
        SessionFailed: One is missing.
    """
    access = {key: base64.b64decode(value) for key, value in data.items()}
    missing = [key for key in ("token", "ca.crt", "endpoint", "serverName", "podName") if not access.get(key)]
    if missing:
        raise SessionFailed(
            f"secret {secret_name} has no {', '.join(missing)}: the operator has not filled it yet", reason="NOT_READY"
        )
    return access


def core_url(client: Any, *segments: str) -> str:
    """A URL below `/api/v1/`; no segment reaches out of its place."""
    path = "/".join(quote(segment, safe="") for segment in segments)
    return f"{client.configuration.host}/api/v1/{path}"


def bearer_header(client: Any) -> dict[str, str]:
    """The kubeconfig's token as a header; nothing where there is none."""
    bearer = client.configuration.auth_settings().get("BearerToken")
    return {"authorization": bearer["value"]} if bearer and bearer["value"] else {}


def read_core(client: Any, *segments: str, **query: str | int) -> bytes:
    """What a GET below `/api/v1/` answers. Blocking; for `call_api`.

    CoreV1Api would be the package's own way: importing it, with a class for each kind there is, takes half a second,
    which is longer than a session takes to start.

    Args:
        client: The kubernetes package's ApiClient.
        *segments: Of the path.
        **query: Of the URL.

    Raises:
        ApiException: Any other answer than 200.
    """
    from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import

    headers = {**client.default_headers, "accept": "application/json, */*", **bearer_header(client)}
    url = core_url(client, *segments)
    answer = client.rest_client.pool_manager.request("GET", url, fields=query, headers=headers, timeout=_TIMEOUT)
    if answer.status != HTTPStatus.OK:
        make_error: Any = ApiException
        error = make_error(answer.status, answer.reason)
        error.body = answer.data
        raise error
    content: bytes = answer.data
    return content


async def read_core_object(what: str, client: Any, *segments: str, **query: str | int) -> dict[str, Any]:
    """The object that a GET below `/api/v1/` answers: `read_core`'s arguments; `what` and errors are `call_api`'s."""
    answer = await call_api(what, read_core, client, *segments, **query)
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"{what}: what answers at {client.configuration.host} is no API server"
        raise SandboxUnavailable(message, reason="API_SERVER")
    return found


async def call_api(what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a call of the kubernetes package in a thread, its errors made ours.

    Args:
        what: What it is about, for messages.
        function: The call.
        *args: Its arguments.
        **kwargs: Its named arguments.

    Raises:
        SandboxError: As the API server answered, or SandboxUnavailable.
    """
    from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - same

    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except ApiException as error:
        raise _from_api_error(what, error) from error
    except (HTTPError, OSError) as error:
        raise SandboxUnavailable(f"the API server does not answer: {error}", reason="API_SERVER") from error


def _from_api_error(what: str, error: Any) -> SandboxError:
    message = f"{what}: {_api_message(error)}"
    classes: dict[int, type[SandboxError]] = {
        400: InvalidArgument,
        401: Unauthenticated,
        403: Unauthenticated,
        404: NotFound,
        409: Conflict,
        422: InvalidArgument,
    }
    class_ = classes.get(error.status, SandboxUnavailable)
    if class_ is NotFound and not _is_status(error):
        # Said by something in between, or by an API server that does not have the kind: no word on the object.
        return NotFound(message, reason="NO_SUCH_PATH")
    return class_(message, reason=str(error.reason or "API_SERVER").upper().replace(" ", "_"))


def _is_status(error: Any) -> bool:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return bool(json.loads(error.body).get("kind") == "Status")
    return False


def _api_message(error: Any) -> str:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(error.body)["message"])
    return f"{error.status} {error.reason}"
