"""Hostile user code in a session of each isolation, and the proof that agent and operator came through.

The isolations are runc, runc with user namespaces, and gVisor. A cluster without one of them fails the tests, which is
louder than skipping them. On an existing cluster SANDBOX_E2E_ISOLATIONS names those that it has, such as `runc,gvisor`.
"""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sandbox_client import Sandbox
from tests.e2e.support.containers import Containers
from tests.e2e.support.kubectl import Kubectl, Object, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import Sessions, build_template

SPECS: dict[str, Object] = {
    "runc": {},
    "userns": {"hostUsers": False},
    "gvisor": {"runtimeClassName": "gvisor"},
}
"""The template's fields for each isolation."""
ISOLATIONS = tuple(filter(None, os.environ.get("SANDBOX_E2E_ISOLATIONS", ",".join(SPECS)).split(",")))
_WHOLE_RANGE = ["0", "0", "4294967295"]
_EVIDENCE = "cat /proc/version; cat /proc/self/uid_map"


@dataclass
class Hostile:
    """A session that runs hostile code.

    Attributes:
        isolation: One of ISOLATIONS.
        name: The session's name.
        sandbox: A connection to it.
    """

    isolation: str
    name: str
    sessions: Sessions
    sandbox: Sandbox

    @functools.cached_property
    def pod(self) -> str:
        """The name of its pod, which stays the same one."""
        return self.sessions.pod(self.name)["metadata"]["name"]

    def run(self, program: str, *arguments: object, timeout: float = 60) -> Any:
        """Run a Python program as a command, and return the JSON that it prints."""
        self.sandbox.files.write("attack.py", program)
        done = self.sandbox.run(["python3", "attack.py", *map(str, arguments)], timeout=timeout)
        assert done.ok, done
        return json.loads(done.stdout)

    def in_agent(self, program: str) -> str:
        """Run a Python program beside the agent, in its container, as an administrator; its output."""
        return self.sessions.kubectl.execute(self.pod, "agent", "/opt/venv/bin/python", "-c", program).strip()

    @contextmanager
    def unharmed(self, *, may_restart: tuple[str, ...] = ()) -> Iterator[None]:
        """Check that the agent and the operator are the same containers afterwards, and that all work.

        Args:
            may_restart: Containers of the pod that the test itself ends.
        """
        containers = Containers(self.sessions.kubectl, self.pod)
        before = containers.identities()
        yield
        done = self.sandbox.run_code("print('alive')")
        assert done.stdout == "alive\n", done
        ended = {f"{self.pod}/{name}" for name in may_restart}
        after = poll("all are ready", containers.ready, timeout=60)
        assert after.keys() == before.keys()
        for each, container in after.items():
            assert each in ended or container == before[each], (each, before[each], container)


def apply_template(platform: Platform, kubectl: Kubectl, isolation: str, mode: str = "None", **egress: object) -> str:
    """Create a template with an isolation and an egress; its name."""
    name, image = f"e2e-{isolation}-{mode.lower()}", platform.image("sandbox-slim")
    kubectl.apply(build_template(name, image, egress={"mode": mode, **egress}, **SPECS[isolation]))
    return name


@contextmanager
def open_hostile(
    platform: Platform, kubectl: Kubectl, isolation: str, mode: str = "Public", **egress: object
) -> Iterator[Hostile]:
    """A session with an isolation, for hostile code; deleted afterwards.

    Args:
        platform: Where.
        kubectl: In the namespace for it.
        isolation: One of ISOLATIONS.
        mode: Its egress.
        egress: Further fields of the egress.
    """
    sessions = Sessions(kubectl)
    template = apply_template(platform, kubectl, isolation, mode, **egress)
    try:
        with start_hostile(sessions, isolation, template, is_direct=platform.is_own or None) as hostile:
            yield hostile
    finally:
        sessions.close()


@contextmanager
def start_hostile(
    sessions: Sessions, isolation: str, template: str, *, is_direct: bool | None = None
) -> Iterator[Hostile]:
    """Start a session for hostile code from a template, and connect to it. The caller deletes the session.

    Args:
        sessions: Makes the session.
        isolation: The template's isolation, which is checked.
        template: Name of the template.
        is_direct: Whether to connect to the pod's own address.
    """
    name = sessions.ready(templateRef={"name": template}, timeout=120)
    with sessions.connect(name, is_direct=is_direct) as sandbox:
        check_isolation(isolation, sandbox.run(_EVIDENCE).stdout)
        yield Hostile(isolation, name, sessions, sandbox)


def check_isolation(isolation: str, evidence: str) -> None:
    """Check that a sandbox has the isolation that its template names: its kernel, and its user ids on the node."""
    version, *maps = evidence.splitlines()
    assert ("gvisor" in version) == (isolation == "gvisor"), evidence
    assert (maps[0].split() == _WHOLE_RANGE) == (isolation != "userns"), evidence
