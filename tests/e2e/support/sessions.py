"""Sessions of the test namespace: make, wait for, connect to, and leave nothing behind."""

import contextlib
import functools
import http
import secrets
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiException, CustomObjectsApi

from sandbox_client import Sandbox, SandboxError
from sandbox_client.cluster.api import ClusterOptions, open_client
from sandbox_client.cluster.sessions import GROUP, PLURAL, VERSION
from tests.e2e.support.kubectl import Kubectl, RefusedError, poll

SESSION = "sandboxsession"


@dataclass
class Sessions:
    """Makes sessions and remembers them, so that they can be removed."""

    kubectl: Kubectl
    names: list[str] = field(default_factory=list)

    def create(self, name: str = "", **spec: Any) -> str:
        """Create a session, without waiting."""
        name = name or f"s-{secrets.token_hex(3)}"
        self.names.append(name)
        self.kubectl.apply(build(name, **spec))
        return name

    def ready(self, name: str = "", *, timeout: float = 90, **spec: Any) -> str:
        """Create a session (a new name) and wait until it is Ready."""
        name = self.create(name, **spec)
        self.wait_phase(name, "Ready", timeout=timeout)
        return name

    def status(self, name: str) -> dict[str, Any]:
        """A session's status; empty where there is no session."""
        return self.read(name).get("status", {})

    def read(self, name: str) -> dict[str, Any]:
        """A session as it is now, without the start of a kubectl: for polling."""
        try:
            return self._api.get_namespaced_custom_object(GROUP, VERSION, self.kubectl.namespace, PLURAL, name)
        except ApiException as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return {}
            raise

    @functools.cached_property
    def _api(self) -> CustomObjectsApi:
        client, _, _ = open_client(ClusterOptions(self.kubectl.namespace, self.kubectl.kubeconfig))
        return CustomObjectsApi(client)

    def wait_phase(self, name: str, phase: str, *, timeout: float = 90) -> dict[str, Any]:
        """Wait for a phase; what is known otherwise is the failure's text."""
        status: dict[str, Any] = {}

        def probe() -> bool:
            nonlocal status
            status = self.status(name)
            return status.get("phase") == phase

        try:
            poll(f"session {name} is {phase}", probe, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; status: {status}\n{self._describe(name)}") from None
        return status

    def condition(self, name: str, type_: str) -> dict[str, Any]:
        """One condition of a session."""
        return next((item for item in self.status(name).get("conditions", []) if item["type"] == type_), {})

    def pod(self, name: str) -> dict[str, Any]:
        """A session's pod as it is now; empty where there is none."""
        session = self.kubectl.get(SESSION, name)
        uid = session.get("metadata", {}).get("uid", "none")
        pods = self.kubectl.list("pods", f"sandboxsessions.dev/session={uid}")
        return pods[0] if pods else {}

    def suspend(self, name: str, *, suspended: bool = True) -> None:
        """Suspend a session, or resume it, without waiting."""
        self.kubectl.patch(SESSION, name, {"spec": {"suspended": suspended}})

    def owned(self, kind: str, name: str) -> list[dict[str, Any]]:
        """What a session of this name owns."""
        return [
            item
            for item in self.kubectl.list(kind)
            if any(owner["name"] == name for owner in item["metadata"].get("ownerReferences", []))
        ]

    def leftovers(self, name: str) -> list[str]:
        """Names of the session, pods and Secrets that are there: owned by it, or called like it."""
        found = [name] if self.kubectl.get(SESSION, name) else []
        for kind in ("pods", "secrets"):
            names = {item["metadata"]["name"] for item in self.owned(kind, name)}
            everything = {item["metadata"]["name"] for item in self.kubectl.list(kind)}
            found += names | {each for each in everything if each.startswith((f"sbx-{name}-", f"{name}-access"))}
        return found

    def connect(self, name: str, *, is_direct: bool | None = None) -> Sandbox:
        """The SDK, connected: through a port-forward, or to the pod's own address."""
        namespace, kubeconfig = self.kubectl.namespace, self.kubectl.kubeconfig
        return Sandbox.connect(name, namespace=namespace, kubeconfig=kubeconfig, in_cluster=is_direct)

    def run_soon(self, name: str, code: str, *, timeout: float = 60) -> str:
        """Run code as soon as the session lets it, over as many connections as it takes; its output."""

        def probe() -> str:
            try:
                with self.connect(name) as sandbox:
                    done = sandbox.run_code(code)
            except SandboxError:
                return ""
            return done.stdout or repr(done)

        return poll(f"session {name} runs {code!r}", probe, timeout=timeout)

    def delete(self, name: str, *, timeout: float = 60) -> None:
        """Delete a session and wait until it, its pod and its Secrets are gone."""
        pod = self.pod(name).get("metadata", {}).get("name", "")
        self.kubectl.delete(SESSION, name)
        poll(f"session {name} is gone", lambda: not self.kubectl.get(SESSION, name), timeout=timeout)
        if pod:
            poll(f"pod {pod} is gone", lambda: not self.kubectl.get("pod", pod), timeout=timeout)
            poll(f"secret {pod}-tls is gone", lambda: not self.kubectl.get("secret", f"{pod}-tls"), timeout=timeout)
        poll(f"secret {name}-access is gone", lambda: not self.kubectl.get("secret", f"{name}-access"), timeout=timeout)

    def close(self) -> None:
        """Delete all, without waiting."""
        for name in self.names:
            self.kubectl.delete(SESSION, name)

    def _describe(self, name: str) -> str:
        pod = self.pod(name)
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-15:]
        lines = [f"{item['name']}: {item['state']}" for item in pod.get("status", {}).get("containerStatuses", [])]
        for container in ("agent", "sandbox") if pod else ():
            with contextlib.suppress(RefusedError):
                lines.append(self.kubectl("logs", pod["metadata"]["name"], "-c", container, "--tail=10"))
        return "\n".join([*lines, *events])


def build(name: str, **spec: Any) -> dict[str, Any]:
    """A SandboxSession."""
    return {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxSession",
        "metadata": {"name": name},
        "spec": spec,
    }


def build_template(name: str, image: str, **spec: Any) -> dict[str, Any]:
    """A SandboxTemplate."""
    return {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxTemplate",
        "metadata": {"name": name},
        "spec": {"image": image, **spec},
    }
