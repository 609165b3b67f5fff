"""Reads the sessions and warm pools of one namespace or all, with their pods and resource usage, for `sandbox top`.

Each refresh lists every kind once, from the API server's cache (resourceVersion 0). A watch would not help: metrics
cannot be watched, and a status has the time of the last use only to the minute. Lists also keep no connection busy
between two refreshes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import ClusterOptions, call_api, open_client, read_core_object
from sandbox_client.cluster.sessions import GROUP, PLURAL, VERSION
from sandbox_client.cluster.table import ClusterObjects, Usage
from sandbox_client.errors import NotFound, SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

POOLS: Final = "sandboxwarmpools"
_METRICS: Final = ("metrics.k8s.io", "v1beta1", "pods")
_SELECTOR: Final = "sandboxsessions.dev/managed-by=sandbox-operator"
_LIST_TIMEOUT: Final = 15
"""Seconds to wait for one list."""
_Found = list[dict[str, Any]] | BaseException


class ClusterReader:
    """Reads the objects of one namespace, or of all if `namespace` is None."""

    def __init__(self, client: Any, namespace: str | None) -> None:
        self._client = client
        self._namespace = namespace

    @classmethod
    async def open(cls, options: ClusterOptions, *, everywhere: bool) -> ClusterReader:
        """Read the kubeconfig, or this pod's service account.

        Raises:
            SandboxUnavailable: There is no kubeconfig and no service account.
        """
        client, namespace, _ = await asyncio.to_thread(open_client, options)
        return cls(client, None if everywhere else namespace)

    async def read(self) -> ClusterObjects:
        """List all objects. A kind other than sessions that cannot be listed is left out, with a note that says why.

        Raises:
            Unauthenticated: The client lacks permission to list sessions here.
            SandboxError: Sessions could not be listed for another reason.
        """
        answers: tuple[_Found, _Found, _Found, _Found] = await asyncio.gather(
            self._custom(GROUP, VERSION, PLURAL),
            self._custom(GROUP, VERSION, POOLS),
            self._pods(),
            self._custom(*_METRICS, label_selector=_SELECTOR),
            return_exceptions=True,
        )
        sessions, pools, pods, metrics = answers
        if isinstance(sessions, BaseException):
            raise sessions
        notes: list[str] = []
        return ClusterObjects(
            tuple(sessions),
            tuple(_or_note(pools, "warm pools", notes)),
            tuple(_or_note(pods, "nodes", notes)),
            usage_of(_or_note(metrics, "CPU and memory", notes)),
            tuple(notes),
        )

    async def sessions(self) -> list[dict[str, Any]]:
        """List the sessions alone, as they are now and not from the API server's cache.

        Raises:
            SandboxError: They could not be listed.
        """
        return await self._custom(GROUP, VERSION, PLURAL, is_cached=False)

    async def events(self, session: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the events about a session, oldest first. Kubernetes keeps them for an hour.

        Raises:
            Unauthenticated: The client may not list events.
        """
        name, namespace = session["metadata"]["name"], session["metadata"]["namespace"]
        selector = f"involvedObject.kind=SandboxSession,involvedObject.name={name}"
        place = ("namespaces", namespace, "events")
        answer = await read_core_object(f"events of session {name}", self._client, *place, fieldSelector=selector)
        events: list[dict[str, Any]] = answer.get("items") or []
        return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    async def _custom(
        self, group: str, version: str, plural: str, *, is_cached: bool = True, **options: Any
    ) -> list[dict[str, Any]]:
        from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

        api: Any = CustomObjectsApi(self._client)
        options |= {"_request_timeout": _LIST_TIMEOUT}
        if group == GROUP and is_cached:
            options["resource_version"] = "0"
        subject = f"{plural} of {self._where}"
        if self._namespace is None:
            answer = await call_api(subject, api.list_cluster_custom_object, group, version, plural, **options)
        else:
            place = (group, version, self._namespace, plural)
            answer = await call_api(subject, api.list_namespaced_custom_object, *place, **options)
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def _pods(self) -> list[dict[str, Any]]:
        place = () if self._namespace is None else ("namespaces", self._namespace)
        selected = {"labelSelector": _SELECTOR, "resourceVersion": "0"}
        answer = await read_core_object(f"pods of {self._where}", self._client, *place, "pods", **selected)
        return [
            {
                "metadata": {"namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"]},
                "spec": {"nodeName": pod["spec"].get("nodeName", "")},
            }
            for pod in answer["items"] or ()
        ]

    @property
    def _where(self) -> str:
        return "all namespaces" if self._namespace is None else f"namespace {self._namespace}"


def usage_of(metrics: list[dict[str, Any]]) -> Mapping[tuple[str, str], Usage]:
    """Sum up the usage of each pod's containers, from metrics-server's PodMetrics.

    Returns:
        The usage by namespace and pod name.
    """
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 - slow to import

    parse: Any = parse_quantity
    usage: dict[tuple[str, str], Usage] = {}
    for item in metrics:
        used = [container.get("usage", {}) for container in item.get("containers", [])]
        cpu, memory = (sum(parse(each.get(kind, "0")) for each in used) for kind in ("cpu", "memory"))
        usage[item["metadata"].get("namespace", ""), item["metadata"]["name"]] = Usage(float(cpu), int(memory))
    return usage


def _or_note(found: _Found, kind: str, notes: list[str]) -> list[dict[str, Any]]:
    if not isinstance(found, BaseException):
        return found
    if not isinstance(found, SandboxError):
        raise found
    is_unmeasured = kind.startswith("CPU") and (isinstance(found, NotFound) or found.reason == "SERVICE_UNAVAILABLE")
    why = "this cluster has no working metrics-server" if is_unmeasured else found.message
    notes.append(f"{kind} are left out: {why}")
    return []
