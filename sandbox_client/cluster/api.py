"""Wraps the `kubernetes` package: configuration, reads of core objects, error translation, and the access Secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import functools
import json
import os
import re
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
_READ_TIMEOUT: Final = 15.0
"""Seconds to wait for the response to a read."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster and namespace to use. `AsyncSandbox.connect` describes each field."""

    namespace: str | None = None
    kubeconfig: str | None = None
    kube_context: str | None = None
    in_cluster: bool | None = None


def is_in_pod() -> bool:
    """Return whether this process runs in a pod with a service account."""
    return _NAMESPACE_FILE.exists()


def open_client(options: ClusterOptions) -> tuple[Any, str, bool]:
    """Read the kubeconfig, or this pod's service account.

    Returns:
        The API client, the namespace, and whether to connect to pods at their own addresses.

    Raises:
        SandboxUnavailable: There is no kubeconfig and no service account.
    """
    import kubernetes  # noqa: PLC0415 - slow to import

    client: Any = kubernetes.client
    config: Any = kubernetes.config

    is_inside = is_in_pod() and options.kubeconfig is None and options.kube_context is None
    configuration = client.Configuration()
    try:
        if is_inside:
            config.load_incluster_config(client_configuration=configuration)
            default = _NAMESPACE_FILE.read_text().strip()
        else:
            path = options.kubeconfig or os.environ.get("KUBECONFIG") or None
            config.load_kube_config(path, options.kube_context, configuration, persist_config=False)
            default = _namespace_of(config, path, options.kube_context)
    except Exception as error:
        # The package checks little: a file that is not a kubeconfig gives an error of any class.
        raise _config_error(options, error, config.ConfigException) from error
    is_direct = is_inside if options.in_cluster is None else options.in_cluster
    return client.ApiClient(configuration), options.namespace or default, is_direct


def _config_error(options: ClusterOptions, error: Exception, known: type[Exception]) -> SandboxUnavailable:
    named = options.kubeconfig or os.environ.get("KUBECONFIG")
    path = named or "~/.kube/config"
    where = path + (f" (context {options.kube_context})" if options.kube_context else "")
    reason = " ".join(str(error).split()).rstrip(".")
    if options.kubeconfig and not Path(options.kubeconfig).exists():
        reason = "there is no such file"
    elif "No configuration found" in reason:
        reason = f"there is no kubeconfig in {path}"
    if isinstance(error, known):
        message = f"no cluster is configured: {reason}. Pass --kubeconfig or set KUBECONFIG."
        if named or options.kube_context:
            message = f"the kubeconfig {where} cannot be used: {reason}. Check --kubeconfig, --context and KUBECONFIG."
        return SandboxUnavailable(message, reason="NO_KUBECONFIG")
    if isinstance(error, OSError):
        reason = error.strerror or reason
    else:
        reason = f"it is not a valid kubeconfig ({type(error).__name__}: {reason})"
    return SandboxUnavailable(
        f"the kubeconfig {where} cannot be used: {reason}. `kubectl config view` shows what kubectl reads.",
        reason="NO_KUBECONFIG",
    )


def _namespace_of(config: Any, path: str | None, kube_context: str | None) -> str:
    contexts, current = config.list_kube_config_contexts(path)
    chosen = next((context for context in contexts if context["name"] == kube_context), current)
    return str(chosen.get("context", {}).get("namespace") or "default")


def check_owner(secret_name: str, secret: Mapping[str, Any], session: Mapping[str, Any]) -> None:
    """Check that an access Secret belongs to a session.

    A tenant who may edit Secrets could delete it, and make one of its name that leads to a pod of their own. Admission
    policies let only the operator make one that a session owns.

    Raises:
        SessionFailed: It has no owner, or belongs to an earlier session of the name.
    """
    uid = session["metadata"].get("uid")
    for owner in (secret.get("metadata") or {}).get("ownerReferences") or []:
        if str(owner.get("apiVersion")).startswith("sandboxsessions.dev/") and owner.get("uid") == uid:
            return
    raise SessionFailed(
        f"secret {secret_name} is not the session's own, so nothing is sent to the address in it."
        " If it stays so, delete it, then suspend and resume the session",
        reason="NOT_READY",
    )


def read_access(secret_name: str, data: Mapping[str, str]) -> dict[str, bytes]:
    """Decode the fields of an access Secret.

    Raises:
        SessionFailed: A field is missing.
    """
    access = {key: base64.b64decode(value) for key, value in data.items()}
    missing = [key for key in ("token", "ca.crt", "endpoint", "serverName", "podName") if not access.get(key)]
    if missing:
        raise SessionFailed(
            f"secret {secret_name} has no {', '.join(missing)}: the operator has not filled it yet", reason="NOT_READY"
        )
    return access


def core_url(client: Any, *segments: str) -> str:
    """Return a URL below `/api/v1/`. Segments are quoted, so that none can lead to another path."""
    path = "/".join(quote(segment, safe="") for segment in segments)
    return f"{client.configuration.host}/api/v1/{path}"


def bearer_header(client: Any) -> dict[str, str]:
    """Return the kubeconfig's token as a header, or no header if there is no token."""
    bearer = client.configuration.auth_settings().get("BearerToken")
    return {"authorization": bearer["value"]} if bearer and bearer["value"] else {}


def read_core(client: Any, *segments: str, **query: str | int) -> bytes:
    """Return the response to a GET below `/api/v1/`. Blocking: run it with `call_api`.

    The package offers CoreV1Api for this. Importing it, with a class for each kind of object, takes half a second,
    which is longer than the start of a session.

    Args:
        client: The kubernetes package's ApiClient.
        *segments: Segments of the path.
        **query: Parameters of the URL.

    Raises:
        ApiException: The status is not 200.
    """
    answer = _get_core(client, segments, query, timeout=_READ_TIMEOUT)
    content: bytes = answer.data
    return content


def follow_core(client: Any, *segments: str, **query: str | int) -> Any:
    """Return the open response to a GET below `/api/v1/`, whose body grows. Arguments and errors as for `read_core`."""
    from urllib3 import Timeout  # noqa: PLC0415 - slow to import

    return _get_core(client, segments, query, timeout=Timeout(_READ_TIMEOUT, read=None), preload_content=False)


def _get_core(client: Any, segments: tuple[str, ...], query: Mapping[str, str | int], **options: Any) -> Any:
    from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import

    headers = {**client.default_headers, "accept": "application/json, */*", **bearer_header(client)}
    url = core_url(client, *segments)
    answer = client.rest_client.pool_manager.request("GET", url, fields=query, headers=headers, **options)
    if answer.status != HTTPStatus.OK:
        make_error: Any = ApiException
        error = make_error(answer.status, answer.reason)
        error.body = answer.data
        raise error
    return answer


async def read_core_object(subject: str, client: Any, *segments: str, **query: str | int) -> dict[str, Any]:
    """Return the object at a path below `/api/v1/`.

    Args:
        subject: The object, for error messages.
        client: The kubernetes package's ApiClient.
        *segments: Segments of the path.
        **query: Parameters of the URL.

    Raises:
        SandboxError: As for `call_api`, or the response is not a JSON object.
    """
    answer = await call_api(subject, read_core, client, *segments, **query)
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"{subject}: the server at {client.configuration.host} is not a Kubernetes API server"
        raise SandboxUnavailable(message, reason="API_SERVER")
    return found


async def call_api(subject: str, function: Callable[..., Any], *args: Any, executor: Any = None, **kwargs: Any) -> Any:
    """Run a call of the kubernetes package in a thread and translate its errors.

    Args:
        subject: The object that the call is about, for error messages.
        function: The call.
        *args: Its positional arguments.
        executor: The `concurrent.futures.Executor` that runs it; that of the event loop if None.
        **kwargs: Its keyword arguments.

    Raises:
        SandboxError: The API server refused the call. The class depends on the HTTP status.
        SandboxUnavailable: The API server does not respond.
    """
    from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - same

    try:
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(executor, call)
    except ApiException as error:
        raise _from_api_error(subject, error) from error
    except (HTTPError, OSError) as error:
        raise SandboxUnavailable(f"the API server does not respond: {error}", reason="API_SERVER") from error


def _from_api_error(subject: str, error: Any) -> SandboxError:
    message = f"{subject}: {_with_advice(_api_message(error))}"
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
        # A proxy sent this 404, or the API server does not know the kind. The object itself may well exist.
        if "session" in subject:
            message = (
                f"{subject}: the API server has no such kind of object (404). Is the chart installed in this cluster? "
                f"`kubectl get crd sandboxsessions.sandboxsessions.dev` shows it"
            )
        return NotFound(message, reason="NO_SUCH_PATH")
    return class_(message, reason=str(error.reason or "API_SERVER").upper().replace(" ", "_"))


def _is_status(error: Any) -> bool:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return bool(json.loads(error.body).get("kind") == "Status")
    return False


def _with_advice(message: str) -> str:
    """Add what to do to a message of the API server about permissions, a missing session, or a missing namespace."""
    if re.search(r'User "[^"]*" cannot \w+ resource', message):
        return f"{message}. `sandbox doctor` lists all permissions that are missing"
    if re.fullmatch(r'sandboxsessions\.sandboxsessions\.dev "[^"]*" not found', message):
        return f"{message}. `sandbox get` lists the sessions of this namespace"
    if re.fullmatch(r'namespaces "[^"]*" not found', message):
        return f"{message}. Create this namespace, or name another one"
    return message


def _api_message(error: Any) -> str:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(error.body)["message"])
    return f"{error.status} {error.reason}"
