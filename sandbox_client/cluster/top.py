"""Reading all sessions and warm pools of a namespace, or of all, with their pods and what those use.

One list for each kind and look, from the API server's cache (resourceVersion 0), and no watch: what pods use cannot be
watched, a status says `last used` by the minute only, and a list holds nothing open between two looks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.api import ClusterOptions, call_api, open_client, read_core_object
from sandbox_client.cluster.overview import Listing, Usage
from sandbox_client.cluster.sessions import GROUP, PLURAL, VERSION
from sandbox_client.errors import NotFound, SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

POOLS: Final = "sandboxwarmpools"
_METRICS: Final = ("metrics.k8s.io", "v1beta1", "pods")
_OURS: Final = "sandboxsessions.dev/managed-by=sandbox-operator"
_TIMEOUT: Final = 15
"""Seconds that one list may take."""
_Found = list[dict[str, Any]] | BaseException


class Reader:
    """Reads one namespace, or all."""

    def __init__(self, client: Any, namespace: str | None) -> None:
        self._client = client
        self._namespace = namespace

    @classmethod
    async def open(cls, options: ClusterOptions, *, everywhere: bool) -> Reader:
        """Read the kubeconfig, or this pod's service account.

        Raises:
            SandboxUnavailable: There is neither.
        """
        client, namespace, _ = await asyncio.to_thread(open_client, options)
        return cls(client, None if everywhere else namespace)

    async def read(self) -> Listing:
        """A look at all of it. Only sessions have to be readable; what else is not is told in `notes`.

        Raises:
            Unauthenticated: Sessions may not be listed here.
            SandboxError: They cannot be.
        """
        answers: tuple[_Found, _Found, _Found, _Found] = await asyncio.gather(
            self._custom(GROUP, VERSION, PLURAL),
            self._custom(GROUP, VERSION, POOLS),
            self._pods(),
            self._custom(*_METRICS, label_selector=_OURS),
            return_exceptions=True,
        )
        sessions, pools, pods, metrics = answers
        if isinstance(sessions, BaseException):
            raise sessions
        notes: list[str] = []
        return Listing(
            tuple(sessions),
            tuple(_or_note(pools, "warm pools", notes)),
            tuple(_or_note(pods, "nodes", notes)),
            usage_of(_or_note(metrics, "CPU and memory", notes)),
            tuple(notes),
        )

    async def _custom(self, group: str, version: str, plural: str, **options: Any) -> list[dict[str, Any]]:
        from kubernetes.client import CustomObjectsApi  # noqa: PLC0415 - slow to import

        api: Any = CustomObjectsApi(self._client)
        options |= {"_request_timeout": _TIMEOUT}
        if group == GROUP:
            options["resource_version"] = "0"
        what = f"{plural} of {self._where}"
        if self._namespace is None:
            answer = await call_api(what, api.list_cluster_custom_object, group, version, plural, **options)
        else:
            place = (group, version, self._namespace, plural)
            answer = await call_api(what, api.list_namespaced_custom_object, *place, **options)
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def _pods(self) -> list[dict[str, Any]]:
        place = () if self._namespace is None else ("namespaces", self._namespace)
        selected = {"labelSelector": _OURS, "resourceVersion": "0"}
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
    """What pods use, all containers together, from metrics-server's PodMetrics."""
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 - slow to import

    parse: Any = parse_quantity
    usage: dict[tuple[str, str], Usage] = {}
    for item in metrics:
        used = [container.get("usage", {}) for container in item.get("containers", [])]
        cpu, memory = (sum(parse(each.get(kind, "0")) for each in used) for kind in ("cpu", "memory"))
        usage[item["metadata"].get("namespace", ""), item["metadata"]["name"]] = Usage(float(cpu), int(memory))
    return usage


def _or_note(found: _Found, what: str, notes: list[str]) -> list[dict[str, Any]]:
    if not isinstance(found, BaseException):
        return found
    if not isinstance(found, SandboxError):
        raise found
    is_unmeasured = what.startswith("CPU") and (isinstance(found, NotFound) or found.reason == "SERVICE_UNAVAILABLE")
    why = "no metrics-server answers in this cluster" if is_unmeasured else found.message
    notes.append(f"{what} are left out: {why}")
    return []
