"""Follows one session: each version as it appears, and what an autoscaler promises it. Blocking calls need a thread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import read_core_object
from sandbox_client.cluster.session_request import GROUP, VERSION
from sandbox_client.cluster.start_policy import describe_progress
from sandbox_client.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PLURAL: Final = "sandboxsessions"
REQUEST_TIMEOUT: Final = 30
"""Seconds without a byte after which a request fails."""
_SCALING: Final = frozenset({"TriggeredScaleUp", "Nominated"})
"""Reasons of a pod's Events that promise a new node: of the cluster autoscaler, and of Karpenter."""
_WATCH_SECONDS: Final = 30
"""Length of one watch. A watch that hangs is noticed after this time."""


WATCHES: Final = ThreadPoolExecutor(512, "sandbox-watch")
"""The threads of watches, which last for minutes. In the event loop's own threads, they would keep out short calls."""


@dataclass(slots=True)
class Deadline:
    """A time on the monotonic clock that may move."""

    at: float


def watch_session(
    api: Any,
    namespace: str,
    name: str,
    is_done: Callable[[Mapping[str, Any]], bool],
    deadline: float,
    show: Callable[[str], object],
    since: dict[str, Any] | None,
    give_up_at: Callable[[Mapping[str, Any], float], float | None],
) -> dict[str, Any]:
    """Follow a session until a predicate is true, and return its last version. Arguments as for `Cluster.wait_for`.

    Args:
        api: The kubernetes package's CustomObjectsApi.
        namespace: The session's namespace.
        name: The session's name.
        is_done: The predicate.
        deadline: The time at which to stop in any case, on the monotonic clock.
        show: Called with each phase and problem.
        since: The session if the caller has just read it.
        give_up_at: Returns the time at which waiting has no more purpose, or None.
    """
    last: dict[str, Any] = {}
    shown, end = "", Deadline(deadline)
    for session in session_versions(api, namespace, name, since, end):
        last = session
        if (text := describe_progress(session)) and text != shown:
            shown = text
            show(text)
        now = time.monotonic()
        give_up = give_up_at(session, now)
        if is_done(session) or (give_up is not None and now >= give_up):
            break
        # A watch has whole seconds.
        end.at = deadline if give_up is None else min(deadline, give_up + 1)
    return last


def session_versions(
    api: Any, namespace: str, name: str, since: dict[str, Any] | None, end: Deadline
) -> Iterator[dict[str, Any]]:
    """Yield each version of a session. After a watch ends, hangs or is too old, start with a read.

    Args:
        api: The kubernetes package's CustomObjectsApi.
        namespace: The session's namespace.
        name: The session's name.
        since: The session if the caller has just read it.
        end: When to stop. The caller may move it after each version.
    """
    from kubernetes.client import ApiException  # noqa: PLC0415 - slow to import
    from kubernetes.watch import Watch  # noqa: PLC0415 - same
    from urllib3.exceptions import ProtocolError, ReadTimeoutError  # noqa: PLC0415 - same

    make_watch: Any = Watch
    place = (GROUP, VERSION, namespace, PLURAL)
    while True:
        session: dict[str, Any] = since or api.get_namespaced_custom_object(
            *place, name, _request_timeout=REQUEST_TIMEOUT
        )
        since = None
        yield session
        started = time.monotonic()
        left = int(min(_WATCH_SECONDS, end.at - started))
        if left < 1:
            return
        watch = make_watch()
        try:
            for event in watch.stream(
                api.list_namespaced_custom_object,
                *place,
                field_selector=f"metadata.name={name}",
                resource_version=session["metadata"]["resourceVersion"],
                timeout_seconds=left,
                _request_timeout=left + 5,
            ):
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
                    if end.at < started + left:
                        # A problem has shortened the wait, and the watch would end too late.
                        break
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


async def expects_node(client: Any, namespace: str, session: Mapping[str, Any]) -> bool:
    """Return whether an autoscaler has promised a node for a session's pod. True if this cannot be known."""
    pod = (session.get("status") or {}).get("podName", "")
    place = ("namespaces", namespace, "events")
    selector = f"involvedObject.name={pod}"
    try:
        found = await read_core_object(f"events of pod {pod}", client, *place, fieldSelector=selector)
    except SandboxError:
        return True
    return any(event.get("reason") in _SCALING for event in found.get("items") or ())
