"""Sessions of a cluster: create, find, wait, connect, suspend, delete. The `kubernetes` package is used in threads.

What is agreed on with the operator is docs/pod-contract.md: the SandboxSession's status and its access Secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import (
    ClusterOptions,
    call_api,
    open_client,
    read_access,
    read_core,
    read_core_object,
)
from sandbox_client.cluster.port_forward import PodStream, open_pod_stream
from sandbox_client.cluster.portforward import PortForward
from sandbox_client.cluster.wake_policy import life_of
from sandbox_client.errors import NotFound, SessionFailed
from sandbox_client.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Cluster", "ClusterOptions", "SessionRequest", "describe_failure", "is_ready"]

GROUP: Final = "sandboxsessions.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "sandboxsessions"
AGENT_PORT: Final = 8443
_WATCH_SECONDS: Final = 30
"""One watch's length: a hanging one is noticed after it."""
_REQUEST_TIMEOUT: Final = 30


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A session to create; `AsyncSandbox.create` describes each field."""

    name: str | None = None
    template: str = "default"
    env: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    def to_object(self, name: str) -> dict[str, Any]:
        """The custom resource."""
        env = [{"name": key, "value": value} for key, value in self.env.items()]
        spec = {**self.spec, "templateRef": {"name": self.template}, **({"env": env} if env else {})}
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SandboxSession", "metadata": {"name": name}, "spec": spec}


def describe_failure(session: Mapping[str, Any]) -> str:
    """Why a session is not Ready, from its phase and conditions, in one line."""
    status = session.get("status", {})
    bad = [
        f"{condition.get('type')}: {condition.get('reason', '')} {condition.get('message', '')}".strip()
        for condition in status.get("conditions", [])
        if condition.get("status") != "True" and (condition.get("message") or condition.get("reason"))
    ]
    phase = status.get("phase") or "not seen by the operator yet"
    return f"it is {phase}" + (f" ({'; '.join(bad)})" if bad else "")


def is_ready(session: Mapping[str, Any]) -> bool:
    """Whether clients may connect."""
    return bool(session.get("status", {}).get("phase") == "Ready")


def _has_left_suspension(session: Mapping[str, Any]) -> bool:
    return session.get("status", {}).get("phase") not in ("Suspended", "Suspending")


class Cluster:
    """The sessions of one namespace."""

    def __init__(self, client: Any, namespace: str, *, is_direct: bool) -> None:
        self.namespace = namespace
        self._client = client
        self._is_direct = is_direct

    @classmethod
    async def open(cls, options: ClusterOptions) -> Cluster:
        """Read the kubeconfig, or this pod's service account.

        Raises:
            SandboxUnavailable: There is neither.
        """
        client, namespace, is_direct = await asyncio.to_thread(open_client, options)
        return cls(client, namespace, is_direct=is_direct)

    async def create(self, request: SessionRequest) -> dict[str, Any]:
        """Create a session and return it, without waiting.

        Raises:
            Conflict: There is one of that name.
            InvalidArgument: The API server refused the spec; the message names the field.
        """
        name = request.name or f"sandbox-{secrets.token_hex(4)}"
        created: dict[str, Any] = await self._call(f"session {name}", "create", request.to_object(name))
        return created

    async def get(self, name: str, *, seconds: float = _REQUEST_TIMEOUT) -> dict[str, Any]:
        """The custom resource.

        Args:
            name: The session.
            seconds: Without a byte, after which the API server counts as gone.

        Raises:
            NotFound: There is none of that name.
        """
        found: dict[str, Any] = await self._call(f"session {name}", "get", name, seconds=seconds)
        return found

    async def list(self) -> list[dict[str, Any]]:
        """All sessions of the namespace."""
        answer = await self._call("sessions", "list")
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def suspend(self, name: str, *, is_suspended: bool = True) -> None:
        """Suspend a session, or resume it: the operator pushes its workspace and removes, or makes, the pod."""
        patch = {"spec": {"suspended": is_suspended}}
        await self._call(f"session {name}", "patch", name, patch)

    async def wake(self, name: str, *, timeout: float, on_phase: Callable[[str], object]) -> bool:  # noqa: ASYNC109 - it ends a watch
        """Resume a session where it is suspended, and wait until it is Ready; whether it was suspended.

        Raises:
            NotFound: There is none of that name.
            SessionFailed: It did not become Ready in time; the message has its conditions.
        """
        session = await self.get(name)
        if not session.get("spec", {}).get("suspended"):
            return False
        await self.suspend(name, is_suspended=False)
        # Until the operator has seen that, the phase is the old one.
        await self.wait_for(name, _has_left_suspension, timeout=timeout, on_phase=on_phase)
        await self.wait_ready(name, timeout=timeout, on_phase=on_phase)
        return True

    async def delete(self, name: str) -> None:
        """Delete a session; what was pushed stays in storage."""
        await self._call(f"session {name}", "delete", name)

    async def wait_ready(
        self,
        name: str,
        *,
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object],
        since: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Wait until a session is Ready; it, as it is then.

        Args:
            name: The session.
            timeout: Seconds.
            on_phase: Told each phase.
            since: The session as it was just seen: it need not be asked for again.

        Raises:
            SessionFailed: It became Failed, or was not Ready in time; the message has its conditions.
            NotFound: It is not there (any more).
        """

        def is_over(session: Mapping[str, Any]) -> bool:
            return is_ready(session) or session.get("status", {}).get("phase") == "Failed"

        session = await self.wait_for(name, is_over, timeout=timeout, on_phase=on_phase, since=since)
        if not is_ready(session):
            raise SessionFailed(f"session {name} is not ready: {describe_failure(session)}", reason="NOT_READY")
        return session

    async def wait_for(
        self,
        name: str,
        is_over: Callable[[Mapping[str, Any]], bool],
        *,
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object],
        since: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Watch a session until a predicate holds, or the time is over; the session as seen last."""
        loop = asyncio.get_running_loop()

        def tell(phase: str) -> None:
            loop.call_soon_threadsafe(on_phase, phase)

        def watch() -> dict[str, Any]:
            last: dict[str, Any] = {}
            phase = ""
            for session in self._versions(name, time.monotonic() + timeout, since):
                last = session
                if (now := session.get("status", {}).get("phase", "")) and now != phase:
                    phase = now
                    tell(phase)
                if is_over(session):
                    break
            return last

        return await call_api(f"session {name}", watch)  # type: ignore[no-any-return]

    def _versions(self, name: str, deadline: float, since: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Each version of a session as it appears. A watch that ends, hangs or is too old begins again with a read."""
        from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import
        from kubernetes.watch import Watch  # noqa: PLC0415 - same
        from urllib3.exceptions import ProtocolError, ReadTimeoutError  # noqa: PLC0415 - same

        make_watch: Any = Watch

        api = self._objects()
        while True:
            session: dict[str, Any] = since or api.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_REQUEST_TIMEOUT
            )
            since = None
            yield session
            left = int(min(_WATCH_SECONDS, deadline - time.monotonic()))
            if left < 1:
                return
            watch = make_watch()
            try:
                for event in watch.stream(
                    api.list_namespaced_custom_object,
                    GROUP, VERSION, self.namespace, PLURAL,
                    field_selector=f"metadata.name={name}",
                    resource_version=session["metadata"]["resourceVersion"],
                    timeout_seconds=left,
                    _request_timeout=left + 5,
                ):  # fmt: skip
                    if event["type"] in ("ADDED", "MODIFIED"):
                        yield event["object"]
                    elif event["type"] == "DELETED":
                        break
            except ApiException as error:
                if error.status != 410:  # noqa: PLR2004 - Gone: the version is too old for a watch
                    raise
            except (ProtocolError, ReadTimeoutError):
                # A watch that was cut or hangs: the read at the top tells whether the API server is there.
                continue
            finally:
                watch.stop()

    async def connect(
        self, name: str, session: Mapping[str, Any] | None = None
    ) -> tuple[Endpoint, contextlib.AsyncExitStack]:
        """Where a session answers, and what ends the port-forward to it.

        Args:
            name: The session.
            session: It, as it was just seen: it need not be asked for again.

        Raises:
            NotFound: There is no such session.
            SessionFailed: It is not Ready.
        """
        session = session or await self.get(name)
        if not is_ready(session):
            advice = "Resume it: `sandbox resume`." if session.get("spec", {}).get("suspended") else ""
            raise SessionFailed(
                f"session {name} is not ready: {describe_failure(session)}. {advice}".strip(), reason="NOT_READY"
            )
        secret_name = session["status"].get("accessSecretName") or f"{name}-access"
        place = ("namespaces", self.namespace, "secrets", secret_name)
        secret = await read_core_object(f"secret {secret_name}", self._client, *place)
        access = read_access(secret_name, secret.get("data") or {})
        resources = contextlib.AsyncExitStack()
        endpoint = Endpoint(
            access["endpoint"].decode(),
            access["serverName"].decode(),
            access["ca.crt"],
            access["token"].decode(),
            life=life_of(session),
        )
        if not self._is_direct:
            forward = PortForward(lambda: self._dial_pod(access["podName"].decode()))
            resources.push_async_callback(asyncio.to_thread, forward.close)
            endpoint = replace(endpoint, address=forward.address, describe_failure=forward.describe_failure)
        return endpoint, resources

    async def logs(self, name: str, container: str, *, tail: int = 200) -> str:
        """The last lines of a session's container, `agent` or `sandbox`.

        Args:
            name: The session.
            container: Which one.
            tail: Lines at most.

        Raises:
            NotFound: It has no pod now.
        """
        session = await self.get(name)
        pod = session.get("status", {}).get("podName")
        if not pod:
            raise NotFound(f"session {name} has no pod: {describe_failure(session)}", reason="NO_POD")
        place = ("namespaces", self.namespace, "pods", pod, "log")
        text = await call_api(f"pod {pod}", read_core, self._client, *place, container=container, tailLines=tail)
        return str(text, errors="replace")

    async def _call(self, what: str, verb: str, *arguments: Any, seconds: float = _REQUEST_TIMEOUT) -> Any:
        """One request about sessions of this namespace; arguments and errors as for `call_api`."""
        function = getattr(self._objects(), f"{verb}_namespaced_custom_object")
        place = (GROUP, VERSION, self.namespace, PLURAL)
        return await call_api(what, function, *place, *arguments, _request_timeout=seconds)

    def _objects(self) -> Any:
        from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

        return CustomObjectsApi(self._client)

    def _dial_pod(self, pod: str) -> PodStream:
        return open_pod_stream(self._client, self.namespace, pod, AGENT_PORT)
