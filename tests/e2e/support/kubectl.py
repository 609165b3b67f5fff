"""kubectl as the tests use it: objects in and out as dicts, waiting by polling with a deadline."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


class RefusedError(AssertionError):
    """A command failed; the message is what it wrote."""


def poll(what: str, probe: Callable[[], Any], *, timeout: float = 60, pause: float = 0.2) -> Any:
    """Call `probe` until it returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)


def run(*command: str, stdin: str | None = None, env: dict[str, str] | None = None, timeout: float = 1800) -> str:
    """Run a command and return its output."""
    done = subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RefusedError(
            f"{' '.join(command)[:300]}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


@dataclass(frozen=True)
class Kubectl:
    """One cluster and one namespace of it."""

    kubeconfig: str
    namespace: str = "default"

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        return run(
            "kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments,
            stdin=stdin, timeout=timeout,
        )  # fmt: skip

    def within(self, namespace: str) -> "Kubectl":
        """The same cluster, another namespace."""
        return Kubectl(self.kubeconfig, namespace)

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind: str, name: str) -> Object:
        """One object; empty where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else {}

    def list(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind."""
        return json.loads(self("get", kind, "-o", "json", *([f"--selector={selector}"] if selector else [])))["items"]

    def delete(self, kind: str, name: str, *flags: str) -> None:
        """Delete an object, without waiting; none is no error."""
        self("delete", kind, name, "--ignore-not-found", "--wait=false", *flags)

    def secret(self, name: str) -> dict[str, bytes]:
        """A Secret's content."""
        data = self.get("secret", name).get("data", {})
        return {key: base64.b64decode(value) for key, value in data.items()}

    def execute(self, pod: str, container: str, *command: str, timeout: float = 60) -> str:
        """Run a command in a container."""
        return self("exec", pod, "-c", container, "--", *command, timeout=timeout)

    def patch(self, kind: str, name: str, change: Object) -> None:
        """Merge a change into an object."""
        self("patch", kind, name, "--type=merge", "-p", json.dumps(change))
