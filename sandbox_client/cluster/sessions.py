"""Creates, finds, awaits, connects to, suspends and deletes the sessions of a cluster.

The `kubernetes` package blocks, so it runs in threads. docs/pod-contract.md describes the SandboxSession's status and
its access Secret, which the operator writes and this module reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email.utils
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import ClusterOptions, call_api, check_owner, open_client, read_access, read_core_object
from sandbox_client.cluster.port_forward import PodStream, PortForward, open_pod_stream
from sandbox_client.cluster.reach import check_reach
from sandbox_client.cluster.session_request import (
    GROUP,
    UNNAMED_PREFIX,
    VERSION,
    SessionRequest,
    check_labels,
    subject_of,
)
from sandbox_client.cluster.start_policy import (
    UNSCHEDULABLE,
    StartWatch,
    describe_failure,
    describe_progress,
    not_ready,
    problem_of,
)
from sandbox_client.cluster.wake_policy import life_of
from sandbox_client.cluster.watching import PLURAL, REQUEST_TIMEOUT, WATCHES, expects_node, watch_session
from sandbox_client.errors import Conflict, SessionFailed
from sandbox_client.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "GROUP",
    "PLURAL",
    "VERSION",
    "ClusterOptions",
    "SessionApi",
    "SessionRequest",
    "describe_failure",
    "describe_progress",
    "is_ready",
]

AGENT_PORT: Final = 8443


def is_ready(session: Mapping[str, Any]) -> bool:
    """Return whether clients may connect."""
    return bool(session.get("status", {}).get("phase") == "Ready")


def _has_left_suspension(session: Mapping[str, Any]) -> bool:
    return session.get("status", {}).get("phase") not in ("Suspended", "Suspending") or problem_of(session) == "Expired"


class SessionApi:
    """The sessions of one namespace, as custom resources. `AsyncCluster` is the public form."""

    def __init__(self, client: Any, namespace: str, *, is_direct: bool) -> None:
        self.namespace = namespace
        self._client = client
        self._is_direct = is_direct

    @classmethod
    async def open(cls, options: ClusterOptions) -> SessionApi:
        """Read the kubeconfig, or this pod's service account.

        Raises:
            SandboxUnavailable: There is no kubeconfig and no service account.
        """
        client, namespace, is_direct = await asyncio.to_thread(open_client, options)
        return cls(client, namespace, is_direct=is_direct)

    @property
    def client(self) -> Any:
        """The kubernetes package's ApiClient."""
        return self._client

    def close(self) -> None:
        """Close the connections to the API server. A later call opens them again."""
        self._client.rest_client.pool_manager.clear()

    async def create(self, request: SessionRequest) -> dict[str, Any]:
        """Create a session and return it without waiting until it is Ready.

        Raises:
            Conflict: A session of that name exists.
            InvalidArgument: An argument is wrong, or the API server refused the spec; the message names the field.
        """
        name = request.name if request.name is not None else f"{UNNAMED_PREFIX}{secrets.token_hex(4)}"
        body, subject = request.to_object(name), f"session {name}"
        try:
            created: dict[str, Any] = await self._call(subject, "create", body, field_validation="Strict")
        except Conflict as error:
            advice = "Connect to it, delete it first, or choose another name."
            raise Conflict(f"{error.message.rstrip('.')}. {advice}", reason=error.reason) from error
        return created

    async def get(self, name: str, *, seconds: float = REQUEST_TIMEOUT) -> dict[str, Any]:
        """Return a session's custom resource.

        Args:
            name: The session's name.
            seconds: Time without a byte after which the API server counts as unreachable.

        Raises:
            NotFound: There is no session of that name.
        """
        found: dict[str, Any] = await self._call(subject_of(name), "get", name, seconds=seconds)
        return found

    async def get_with_time(self, name: str) -> tuple[dict[str, Any], dt.datetime]:
        """Return a session and the API server's time. This machine's clock may be wrong.

        Raises:
            NotFound: There is no session of that name.
        """
        function = self._objects().get_namespaced_custom_object_with_http_info
        place = (GROUP, VERSION, self.namespace, PLURAL)
        options = {"_request_timeout": REQUEST_TIMEOUT}
        session, _, headers = await call_api(subject_of(name), function, *place, name, **options)
        try:
            now = email.utils.parsedate_to_datetime(headers.get("Date") or "")
        except ValueError:
            now = dt.datetime.now(dt.UTC)
        return session, now

    async def list(self, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the sessions of the namespace that have all of these labels."""
        checked = check_labels(labels or {}, may_be_reserved=True)
        selector = ",".join(f"{key}={value}" for key, value in checked.items())
        where = f"sessions of namespace {self.namespace}"
        answer = await self._call(where, "list", label_selector=selector or None)
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def suspend(self, name: str, *, is_suspended: bool = True) -> dict[str, Any]:
        """Suspend or resume a session, and return it without waiting.

        On a suspend the operator pushes the workspace and deletes the pod. On a resume it creates a new pod.

        Raises:
            NotFound: There is no session of that name.
        """
        return await self.patch(name, {"suspended": is_suspended})

    async def patch(
        self, name: str, spec: Mapping[str, Any], annotations: Mapping[str, str | None] | None = None
    ) -> dict[str, Any]:
        """Change fields of a session's spec, and its annotations, and return the session. None removes one.

        Raises:
            NotFound: There is no session of that name.
            InvalidArgument: The API server refused a value, or does not know a field.
        """
        patch: dict[str, Any] = {"spec": spec}
        if annotations:
            patch["metadata"] = {"annotations": annotations}
        patched: dict[str, Any] = await self._call(subject_of(name), "patch", name, patch, field_validation="Strict")
        return patched

    async def wake(self, name: str, *, timeout: float, on_phase: Callable[[str], object]) -> bool:  # noqa: ASYNC109 - it ends a watch
        """Resume a session if it is suspended, wait until it is Ready, and return whether it was suspended.

        Args:
            name: The session's name.
            timeout: Seconds for each of the two waits: until the suspension ends, and until the session is Ready.
            on_phase: Called with each phase and problem.

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

    async def delete(self, name: str, *, uid: str = "") -> None:
        """Delete a session. Pushed files stay in storage. With `uid`, a later session of the name is a Conflict."""
        options: Any = {"body": {"preconditions": {"uid": uid}}} if uid else {}
        await self._call(subject_of(name), "delete", name, **options)

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
            on_phase: Called with each phase and problem.
            since: The session if the caller has just read it. This saves one read.

        Raises:
            SessionFailed: It became Failed, was not Ready in time, or has a problem with which waiting does not help.
                The message has its conditions.
            NotFound: There is no session of that name, or it was deleted meanwhile.
        """

        def is_done(session: Mapping[str, Any]) -> bool:
            return is_ready(session) or session.get("status", {}).get("phase") == "Failed"

        started, problems = time.monotonic(), StartWatch()
        while True:
            left = started + timeout - time.monotonic()
            session = await self.wait_for(
                name, is_done, timeout=left, on_phase=on_phase, since=since, give_up_at=problems.give_up_at
            )
            if is_ready(session):
                return session
            is_over = is_done(session) or time.monotonic() >= started + timeout - 1
            if (
                is_over
                or problem_of(session) != UNSCHEDULABLE
                or not await expects_node(self._client, self.namespace, session)
            ):
                raise not_ready(name, session, timeout, is_hopeless=is_done(session) or not is_over)
            problems.excuse(UNSCHEDULABLE)
            since = session

    async def wait_for(
        self,
        name: str,
        is_done: Callable[[Mapping[str, Any]], bool],
        *,
        timeout: float,  # noqa: ASYNC109 - it ends a watch
        on_phase: Callable[[str], object],
        since: dict[str, Any] | None = None,
        give_up_at: Callable[[Mapping[str, Any], float], float | None] = lambda _session, _now: None,
    ) -> dict[str, Any]:
        """Watch a session until a predicate is true or the time is up.

        Args:
            name: The session's name.
            is_done: The predicate. Called on another thread.
            timeout: Seconds to wait at most.
            on_phase: Called with each phase and problem, on the event loop.
            since: The session if the caller has just read it. This saves one read.
            give_up_at: Returns the time at which waiting for this version has no more purpose, or None. Its second
                argument is the current time. Both are seconds of the monotonic clock.

        Returns:
            The last version of the session. The predicate is false for it if the time ran out.
        """
        loop = asyncio.get_running_loop()

        def show(text: str) -> None:
            loop.call_soon_threadsafe(on_phase, text)

        end = (time.monotonic() + timeout, show, since, give_up_at)
        place = (self._objects(), self.namespace, name)
        return await call_api(subject_of(name), watch_session, *place, is_done, *end, executor=WATCHES)  # type: ignore[no-any-return]

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
        check_owner(secret_name, secret, session)
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

    async def _call(
        self, subject: str, verb: str, *arguments: Any, seconds: float = REQUEST_TIMEOUT, **options: Any
    ) -> Any:
        """Make one request about sessions of this namespace. Arguments and errors as for `call_api`."""
        function = getattr(self._objects(), f"{verb}_namespaced_custom_object")
        place = (GROUP, VERSION, self.namespace, PLURAL)
        return await call_api(subject, function, *place, *arguments, _request_timeout=seconds, **options)

    def _objects(self) -> Any:
        from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

        return CustomObjectsApi(self._client)

    def _dial_pod(self, pod: str) -> PodStream:
        return open_pod_stream(self._client, self.namespace, pod, AGENT_PORT)
