"""Creates, finds, awaits, connects to, suspends and deletes the sessions of a cluster.

The `kubernetes` package blocks, so it runs in threads. docs/pod-contract.md describes the SandboxSession's status and
its access Secret, which the operator writes and this module reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import ClusterOptions, call_api, open_client, read_access, read_core, read_core_object
from sandbox_client.cluster.port_forward import PodStream, PortForward, open_pod_stream
from sandbox_client.cluster.reach import check_reach
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
"""Length of one watch. A watch that hangs is noticed after this time."""
_REQUEST_TIMEOUT: Final = 30
"""Seconds without a byte after which a request fails."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A session to create. `AsyncSandbox.create` describes each field."""

    name: str | None = None
    template: str = "default"
    env: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    def to_object(self, name: str) -> dict[str, Any]:
        """Return the custom resource."""
        env = [{"name": key, "value": value} for key, value in self.env.items()]
        spec = {**self.spec, "templateRef": {"name": self.template}, **({"env": env} if env else {})}
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SandboxSession", "metadata": {"name": name}, "spec": spec}


def describe_failure(session: Mapping[str, Any]) -> str:
    """Return one line that says why a session is not Ready, from its phase and conditions."""
    status = session.get("status", {})
    bad = [
        f"{condition.get('type')}: {condition.get('reason', '')} {condition.get('message', '')}".strip()
        for condition in status.get("conditions", [])
        if condition.get("status") != "True" and (condition.get("message") or condition.get("reason"))
    ]
    phase = status.get("phase") or "not seen by the operator yet"
    return f"it is {phase}" + (f" ({'; '.join(bad)})" if bad else "")


def is_ready(session: Mapping[str, Any]) -> bool:
    """Return whether clients may connect."""
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
            SandboxUnavailable: There is no kubeconfig and no service account.
        """
        client, namespace, is_direct = await asyncio.to_thread(open_client, options)
        return cls(client, namespace, is_direct=is_direct)

    async def create(self, request: SessionRequest) -> dict[str, Any]:
        """Create a session and return it without waiting until it is Ready.

        Raises:
            Conflict: A session of that name exists.
            InvalidArgument: The API server refused the spec; the message names the field.
        """
        name = request.name or f"sandbox-{secrets.token_hex(4)}"
        created: dict[str, Any] = await self._call(f"session {name}", "create", request.to_object(name))
        return created

    async def get(self, name: str, *, seconds: float = _REQUEST_TIMEOUT) -> dict[str, Any]:
        """Return a session's custom resource.

        Args:
            name: The session's name.
            seconds: Time without a byte after which the API server counts as unreachable.

        Raises:
            NotFound: There is no session of that name.
        """
        found: dict[str, Any] = await self._call(f"session {name}", "get", name, seconds=seconds)
        return found

    async def list(self) -> list[dict[str, Any]]:
        """Return all sessions of the namespace."""
        answer = await self._call("sessions", "list")
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def suspend(self, name: str, *, is_suspended: bool = True) -> None:
        """Suspend or resume a session.

        On a suspend the operator pushes the workspace and deletes the pod. On a resume it creates a new pod.
        """
        patch = {"spec": {"suspended": is_suspended}}
        await self._call(f"session {name}", "patch", name, patch)

    async def wake(self, name: str, *, timeout: float, on_phase: Callable[[str], object]) -> bool:  # noqa: ASYNC109 - it ends a watch
        """Resume a session if it is suspended, wait until it is Ready, and return whether it was suspended.

        Args:
            name: The session's name.
            timeout: Seconds for each of the two waits: until the suspension ends, and until the session is Ready.
            on_phase: Called with each phase.

        Raises:
            NotFound: There is no session of that name.
            SessionFailed: It did not become Ready in time. The message has its conditions.
        """
        session = await self.get(name)
        if not session.get("spec", {}).get("suspended"):
            return False
        await self.suspend(name, is_suspended=False)
        # The phase stays the old one until the operator has seen the change.
        await self.wait_for(name, _has_left_suspension, timeout=timeout, on_phase=on_phase)
        await self.wait_ready(name, timeout=timeout, on_phase=on_phase)
        return True

    async def delete(self, name: str) -> None:
        """Delete a session. Pushed files stay in storage."""
        await self._call(f"session {name}", "delete", name)

    async def wait_ready(
        self,
        name: str,
        *,
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object],
        since: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Wait until a session is Ready and return it.

        Args:
            name: The session's name.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase.
            since: The session if the caller has just read it. This saves one read.

        Raises:
            SessionFailed: It became Failed, or was not Ready in time. The message has its conditions.
            NotFound: There is no session of that name, or it was deleted meanwhile.
        """

        def is_done(session: Mapping[str, Any]) -> bool:
            return is_ready(session) or session.get("status", {}).get("phase") == "Failed"

        session = await self.wait_for(name, is_done, timeout=timeout, on_phase=on_phase, since=since)
        if not is_ready(session):
            raise SessionFailed(f"session {name} is not ready: {describe_failure(session)}", reason="NOT_READY")
        return session

    async def wait_for(
        self,
        name: str,
        is_done: Callable[[Mapping[str, Any]], bool],
        *,
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object],
        since: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Watch a session until a predicate is true or the time is up.

        Args:
            name: The session's name.
            is_done: The predicate. Called on another thread.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase, on the event loop.
            since: The session if the caller has just read it. This saves one read.

        Returns:
            The last version of the session. The predicate is false for it if the time ran out.
        """
        loop = asyncio.get_running_loop()

        def watch() -> dict[str, Any]:
            last: dict[str, Any] = {}
            phase = ""
            for session in self._versions(name, time.monotonic() + timeout, since):
                last = session
                if (now := session.get("status", {}).get("phase", "")) and now != phase:
                    phase = now
                    loop.call_soon_threadsafe(on_phase, phase)
                if is_done(session):
                    break
            return last

        return await call_api(f"session {name}", watch)  # type: ignore[no-any-return]

    def _versions(self, name: str, deadline: float, since: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield each version of a session as it appears. After a watch ends, hangs or is too old, start with a read."""
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
                # The watch was cut or hangs. The read at the top fails if the API server is unreachable.
                continue
            finally:
                watch.stop()

    async def connect(
        self, name: str, session: Mapping[str, Any] | None = None
    ) -> tuple[Endpoint, contextlib.AsyncExitStack]:
        """Find a session's endpoint, and start a port-forward to it unless its pod is reachable directly.

        Args:
            name: The session's name.
            session: The session if the caller has just read it. This saves one read.

        Returns:
            The endpoint, and a stack whose closing ends the port-forward.

        Raises:
            NotFound: There is no session of that name.
            SessionFailed: The session is not Ready.
            SandboxUnavailable: NetworkPolicies keep this pod from the session's. The message says what to change.
        """
        session = session or await self.get(name)
        if not is_ready(session):
            advice = f"Resume it with `sandbox resume {name}`." if session.get("spec", {}).get("suspended") else ""
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
        else:
            await check_reach(self._client, self.namespace, endpoint)
        return endpoint, resources

    async def logs(self, name: str, container: str, *, tail: int = 200) -> str:
        """Return the last log lines of one container of a session.

        Args:
            name: The session's name.
            container: `agent` or `sandbox`.
            tail: Maximum number of lines.

        Raises:
            NotFound: The session has no pod at the moment.
        """
        session = await self.get(name)
        pod = session.get("status", {}).get("podName")
        if not pod:
            raise NotFound(f"session {name} has no pod: {describe_failure(session)}", reason="NO_POD")
        place = ("namespaces", self.namespace, "pods", pod, "log")
        text = await call_api(f"pod {pod}", read_core, self._client, *place, container=container, tailLines=tail)
        return str(text, errors="replace")

    async def _call(self, subject: str, verb: str, *arguments: Any, seconds: float = _REQUEST_TIMEOUT) -> Any:
        """Make one request about sessions of this namespace. Arguments and errors as for `call_api`."""
        function = getattr(self._objects(), f"{verb}_namespaced_custom_object")
        place = (GROUP, VERSION, self.namespace, PLURAL)
        return await call_api(subject, function, *place, *arguments, _request_timeout=seconds)

    def _objects(self) -> Any:
        from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

        return CustomObjectsApi(self._client)

    def _dial_pod(self, pod: str) -> PodStream:
        return open_pod_stream(self._client, self.namespace, pod, AGENT_PORT)
