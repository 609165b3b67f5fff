"""Sessions whose workspace is on a small file system of its own, so that a test can fill it without harm to the node.

The kubelet bounds an emptyDir by evicting its pod after a while. A real disk refuses at once, when space or inodes are
used up. The test mounts a tmpfs over the folder that the kubelet has prepared, before the container starts: it waits
for an image that gets its name only then. The kubelet unmounts it with the pod.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from tests.e2e.support.arena import SOCKETS
from tests.e2e.support.isolations import SPECS
from tests.e2e.support.kubectl import poll, run
from tests.e2e.support.platform import STATE, TOOL
from tests.e2e.support.sessions import build_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_client import Sandbox
    from tests.e2e.support.platform import Platform
    from tests.e2e.support.sessions import Sessions

SPACE, INODES = 32 << 20, 2500
_KUBELET: Final = STATE / "run/kubelet/root/pods"


@contextlib.contextmanager
def on_small_disk(platform: Platform, sessions: Sessions, isolation: str) -> Iterator[tuple[str, Sandbox]]:
    """Start a session on a disk of 32 MiB and 2,500 inodes; its name, and the SDK."""
    tag, name = f"small-{secrets.token_hex(4)}", f"small-{isolation}"
    template = build_template(name, f"{platform.registry}sandbox-slim:{tag}", egress=SOCKETS, **SPECS[isolation])
    sessions.kubectl.apply(template)
    session = sessions.create(templateRef={"name": name})
    uid = poll("the pod is there", lambda: sessions.pod(session).get("metadata", {}).get("uid"), timeout=30)
    folder = _KUBELET / uid / "volumes/kubernetes.io~empty-dir/workspace"
    poll("the kubelet has prepared the workspace and waits for the image", lambda: is_waiting(sessions, session))
    # The group and mode that the kubelet gave to what is below.
    mode, group = f"{folder.stat().st_mode & 0o7777:o}", folder.stat().st_gid
    options = f"size={SPACE},nr_inodes={INODES},mode={mode},gid={group}"
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    platform.tag_image("sandbox-slim", tag)
    try:
        sessions.wait_phase(session, "Ready", timeout=120)
        with sessions.connect(session, is_direct=True) as sandbox:
            yield session, sandbox
    finally:
        run(str(TOOL), "ctr", "images", "rm", template["spec"]["image"])


def is_waiting(sessions: Sessions, session: str) -> bool:
    """Return whether the sandbox's container waits for its image. Its volumes exist by then."""
    statuses = sessions.pod(session).get("status", {}).get("containerStatuses", [])
    waiting = {each["name"]: each["state"].get("waiting", {}).get("reason", "") for each in statuses}
    return waiting.get("sandbox") in {"ErrImagePull", "ImagePullBackOff"}
