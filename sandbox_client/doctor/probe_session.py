"""A session of the doctor's own: it shows that pods start, that a cell runs, and what storage allows."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import check_owner, read_access
from sandbox_client.cluster.port_forward import PortForward, open_pod_stream
from sandbox_client.cluster.sessions import AGENT_PORT, GROUP, PLURAL, VERSION, describe_failure, is_ready
from sandbox_client.doctor.cluster_checks import WAITING_FOR_IMAGE
from sandbox_client.doctor.findings import Finding, failed, ok, skipped, warning
from sandbox_client.errors import FailedPrecondition, NotSupported, SandboxError, SandboxUnavailable
from sandbox_client.execution import CodeRunner
from sandbox_client.transport.connection import Connection
from sandbox_client.transport.endpoint import Endpoint
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sandbox_client.doctor.api import KubeHttp

_LIFETIME: Final = "10m"
"""If the doctor is killed, the operator deletes the session after this time."""
_IDLE: Final = "9m"
_POLL: Final = 0.5
_UNSEEN: Final = 20.0
"""Seconds after which a session without a status counts as unseen by any operator."""
_STUCK: Final = 15.0
"""Seconds after which a problem that a session showed before, and shows again, makes waiting longer useless."""
_TRANSIENT: Final = frozenset({"", "Creating", "Starting", "Connecting", "Binding", "Restoring", "PodEnding", "Ready"})
"""Reasons of the condition Ready on the way to a session that is Ready."""
_MAX_OFFSET: Final = 300.0
"""Seconds by which the store's clock may differ. S3 refuses requests that are 15 minutes old."""
_STORAGE_ADVICE: Final = {
    "put": "Allow s3:PutObject on the prefix of the workspaces, and check that the bucket exists.",
    "get": "Allow s3:GetObject on the prefix of the workspaces.",
    "list": "Allow s3:ListBucket on the bucket.",
    "copy": "Allow s3:GetObject and s3:PutObject on the prefix of the workspaces.",
    "conditional put": "Use a store with conditional writes, such as Amazon S3 or MinIO. Until then, let no two "
    "sessions share a workspace.",
    "delete": "Allow s3:DeleteObject on the prefix of the workspaces.",
}
_IMAGE_REASON: Final = "ImagePullFailed"
_UNREACHABLE: Final = "Check that neither a NetworkPolicy nor the CNI keeps the operator from the pods' port 8444."
_REASON_ADVICE: Final = {
    _IMAGE_REASON: "Set images.registry and tags so that the nodes can pull the images (docs/install/images.md).",
    "Unschedulable": "Add nodes, or lower the template's requests; check its nodeSelector and tolerations.",
    "PodRefused": "Raise the namespace's quota, or change the admission policy that refuses the pod.",
    "TemplateNotFound": "Create the SandboxTemplate, or name another one with --template.",
    "RestoreFailed": "Check storage.endpoint, storage.cidrs, the credentials, and the bucket.",
    "StorageCredentialsMissing": "Set storage.existingSecret, or storage.accessKeyId and storage.secretAccessKey.",
    "RoleNotAssumed": "Check storage.endpoint, the role and its trust policy (docs/operations/storage-credentials.md).",
    "AgentUnreachable": _UNREACHABLE,
    "Connecting": _UNREACHABLE,
}
_TROUBLESHOOTING: Final = "docs/troubleshooting.md explains each reason."


class ProbeSession:
    """A session with a random name. Use `opened` to create and delete it.

    Attributes:
        name: The session's name.
        resource: The custom resource as it was last read.
        pod: The session's pod, if the caller may read it.
    """

    def __init__(self, api: KubeHttp, template: str) -> None:
        self.name = f"sandbox-doctor-{secrets.token_hex(4)}"
        self.resource: dict[str, Any] = {}
        self.pod: dict[str, Any] = {}
        self._api = api
        self._template = template

    @property
    def _path(self) -> tuple[str, ...]:
        return ("apis", GROUP, VERSION, "namespaces", self._api.namespace, PLURAL)

    @contextlib.asynccontextmanager
    async def opened(self, findings: list[Finding]) -> AsyncIterator[bool]:
        """Create the session, and delete it afterwards. Yield whether it was created; add a finding if not."""
        spec = {
            "templateRef": {"name": self._template},
            # The idle timeout's default would be longer than the lifetime, and the operator would say so.
            "lifecycle": {"idleTimeout": _IDLE, "onIdle": "Delete", "maxLifetime": _LIFETIME, "onExpiry": "Delete"},
        }
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "SandboxSession",
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/name": "sandbox-doctor"}},
            "spec": spec,
        }
        answer = await self._api.post(body, *self._path)
        if not answer.is_ok:
            message = f"the session {self.name} could not be created: {answer.problem}"
            findings.append(
                skipped("session", message) if answer.is_refused else failed("session", message, _TROUBLESHOOTING)
            )
            yield False
            return
        self.resource = dict(answer.body)
        try:
            yield True
        finally:
            findings += await self._delete()

    async def _delete(self) -> list[Finding]:
        try:
            answer = await self._api.delete(*self._path, self.name)
            problem = "" if answer.is_ok or answer.status == 404 else answer.problem  # noqa: PLR2004 - HTTP
        except SandboxUnavailable as error:
            problem = str(error)
        if not problem:
            return []
        command = f"kubectl --namespace {self._api.namespace} delete sandboxsession {self.name}"
        return [warning("cleanup", f"the session {self.name} is still there: {problem}", f"Run `{command}`.")]

    async def wait(self, seconds: float) -> list[Finding]:
        """Wait until the session is Ready. Return findings about the session and its images."""
        began = time.monotonic()
        first_seen: dict[str, float] = {}
        while True:
            answer = await self._api.get(*self._path, self.name)
            if answer.is_ok:
                self.resource = dict(answer.body)
            await self._read_pod()
            if is_ready(self.resource):
                took = f"{self.name} was Ready after {time.monotonic() - began:.1f} s"
                return [*self._images(), ok("session", took)]
            now = time.monotonic()
            reason = _IMAGE_REASON if self._image_problem else self._reason
            # A kubelet that tries again alternates between a problem and a step.
            is_stuck = reason not in _TRANSIENT and now - first_seen.setdefault(reason, now) > _STUCK
            is_unseen = not self.resource.get("status") and now - began > _UNSEEN
            is_failed = self.resource.get("status", {}).get("phase") == "Failed"
            if is_failed or is_stuck or is_unseen or now - began > seconds:
                return self._not_ready(now - began)
            await asyncio.sleep(_POLL)

    @property
    def _reason(self) -> str:
        for condition in self.resource.get("status", {}).get("conditions", ()):
            if condition.get("type") == "Ready":
                return str(condition.get("reason", ""))
        return ""

    @property
    def _image_problem(self) -> str:
        """The reason why the kubelet cannot get an image, or "". It says so before the operator does."""
        for container in self.pod.get("status", {}).get("containerStatuses", ()):
            waiting = container.get("state", {}).get("waiting", {})
            if str(waiting.get("reason", "")).startswith(WAITING_FOR_IMAGE):
                return f"{container.get('image')}: {waiting['reason']} {waiting.get('message', '')}".strip()
        return ""

    def _not_ready(self, seconds: float) -> list[Finding]:
        if self._image_problem:
            return [failed("images", self._image_problem, _REASON_ADVICE[_IMAGE_REASON])]
        message = f"{self.name} was not Ready after {seconds:.0f} s: {describe_failure(self.resource)}"
        if not self.resource.get("status"):
            advice = (
                "Check that the operator runs, and that the chart's watchNamespaces is empty or names "
                f"{self._api.namespace}."
            )
            return [failed("session", message, advice)]
        advice = f"{_REASON_ADVICE.get(self._reason, '')} {_TROUBLESHOOTING}".strip()
        check = "images" if self._reason == _IMAGE_REASON else "session"
        return [failed(check, message, advice)]

    def _images(self) -> list[Finding]:
        names = [str(container["image"]) for container in self.pod.get("spec", {}).get("containers", ())]
        return [ok("images", f"the node has {', '.join(names)}")] if names else []

    async def _read_pod(self) -> None:
        name = self.resource.get("status", {}).get("podName")
        if name:
            answer = await self._api.get("api", "v1", "namespaces", self._api.namespace, "pods", name)
            if answer.is_ok:
                self.pod = dict(answer.body)

    async def use(self) -> list[Finding]:
        """Run a cell, and try what storage allows."""
        try:
            async with self._connected() as connection:
                began = time.monotonic()
                done = await CodeRunner(connection).run_code("print(6 * 7)")
                if done.stdout != "42\n":
                    return [
                        failed("cell", f"a cell ended as {done.status}: {done.stderr or done.error}", _TROUBLESHOOTING)
                    ]
                route = "directly" if self._api.is_direct else "through the API server"
                cell = ok("cell", f"ran in {(time.monotonic() - began) * 1000:.0f} ms, {route}")
                return [cell, *await _check_storage(connection)]
        except SandboxError as error:
            advice = (
                "Check that the pod of this client has the label sandboxsessions.dev/client=true."
                if self._api.is_direct
                else "Check the permission to create pods/portforward. gVisor does not support port-forwards: use "
                "--direct from a pod of the cluster."
            )
            return [failed("cell", str(error), advice)]

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        secret_name = self.resource["status"].get("accessSecretName") or f"{self.name}-access"
        answer = await self._api.get("api", "v1", "namespaces", self._api.namespace, "secrets", secret_name)
        if not answer.is_ok:
            raise SandboxUnavailable(answer.problem, reason="API_SERVER")
        check_owner(secret_name, answer.body, self.resource)
        access = read_access(secret_name, answer.body.get("data") or {})
        async with contextlib.AsyncExitStack() as stack:
            endpoint = self._endpoint(access, stack)
            connection = Connection(endpoint)
            stack.push_async_callback(connection.close)
            yield connection

    def _endpoint(self, access: Mapping[str, bytes], stack: contextlib.AsyncExitStack) -> Endpoint:
        address = access["endpoint"].decode()
        describe: Callable[[], str] = str
        if not self._api.is_direct:
            pod, client = access["podName"].decode(), self._api.client
            forward = PortForward(lambda: open_pod_stream(client, self._api.namespace, pod, AGENT_PORT))
            stack.push_async_callback(asyncio.to_thread, forward.close)
            address, describe = forward.address, forward.describe_failure
        return Endpoint(
            address,
            access["serverName"].decode(),
            access["ca.crt"],
            access["token"].decode(),
            describe_failure=describe,
        )


async def _check_storage(connection: Connection) -> list[Finding]:
    method = connection.workspace.CheckStorage
    try:
        answer = await connection.unary(method, workspace_pb2.CheckStorageRequest(), repeatable=True)
    except FailedPrecondition as error:
        if error.reason != "STORAGE_UNAVAILABLE":
            raise
        return [
            warning(
                "storage",
                "no bucket is configured, so files are lost with their pod",
                "Set storage.bucket and the values beside it (docs/install/index.md#storage).",
            )
        ]
    except NotSupported:
        return [skipped("storage", "the agent of this session is older than this check")]
    return read_storage(answer)


def read_storage(answer: workspace_pb2.CheckStorageResponse) -> list[Finding]:
    """Return findings for the agent's report on its store."""
    findings = [
        failed("storage", f"{each.operation}: {each.problem}", _STORAGE_ADVICE.get(each.operation, _TROUBLESHOOTING))
        for each in answer.checks
        if each.problem
    ]
    if not findings:
        findings = [ok("storage", ", ".join(each.operation for each in answer.checks))]
    if answer.HasField("clock_offset"):
        offset = answer.clock_offset.ToTimedelta().total_seconds()
        if abs(offset) > _MAX_OFFSET:
            message = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the node's"
            findings.append(failed("storage clock", message, "Set the nodes' clocks and the store's by NTP."))
    return findings
