"""Finds stored objects whose values the CRDs refuse. Newer CRDs are stricter, and check only what is written."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.sessions import GROUP, VERSION
from sandbox_client.doctor.findings import Finding, ok, skipped, warning

if TYPE_CHECKING:
    from sandbox_client.doctor.api import KubeHttp

_KINDS: Final = {
    "sandboxsessions": "SandboxSession",
    "sandboxtemplates": "SandboxTemplate",
    "sandboxwarmpools": "SandboxWarmPool",
}
_PAGE: Final = 500
_MAX_CHECKED: Final = 5000
"""Objects of a kind that are checked."""
_MAX_SHOWN: Final = 50
_AT_ONCE: Final = 8
_REASON: Final = 300
"""Characters of the API server's message about one object."""


async def check_stored_objects(api: KubeHttp) -> Finding:
    """Have the API server check each stored object as if it were new. Nothing is written.

    It looks at all namespaces, or at one if the caller may not list the others.
    """
    refused: list[str] = []
    unknown: list[str] = []
    count = 0
    for kind in _KINDS:
        found, problem = await _list(api, kind)
        if problem:
            unknown.append(f"{kind}: {problem}")
            continue
        count += len(found)
        limit = asyncio.Semaphore(_AT_ONCE)
        answers = await asyncio.gather(*(_check(api, kind, each, limit) for each in found))
        refused += [text for is_refused, text in answers if is_refused]
        unknown += sorted({text for is_refused, text in answers if text and not is_refused})
    if refused:
        shown = "; ".join(refused[:_MAX_SHOWN])
        more = f"; and {len(refused) - _MAX_SHOWN} more" if len(refused) > _MAX_SHOWN else ""
        return warning(
            "stored objects",
            f"{len(refused)} of {count} have values that the CRDs refuse: {shown}{more}",
            "Correct each with `kubectl --namespace NAMESPACE edit KIND NAME`, or delete it. Until then such a session"
            " does not start, nor one with such a template.",
        )
    if unknown:
        return skipped("stored objects", "; ".join(unknown))
    return ok("stored objects", f"the CRDs accept all {count}")


async def _list(api: KubeHttp, kind: str) -> tuple[list[dict[str, Any]], str]:
    """Return the objects of a kind, or the reason why they are not known."""
    everywhere = "apis", GROUP, VERSION, kind
    path: tuple[str, ...] = everywhere
    found: list[dict[str, Any]] = []
    query = {"limit": str(_PAGE)}
    while len(found) < _MAX_CHECKED:
        answer = await api.get(*path, **query)
        if answer.is_refused and path == everywhere:
            path = ("apis", GROUP, VERSION, "namespaces", api.namespace, kind)
            continue
        if not answer.is_ok:
            return [], answer.problem
        found += answer.items
        token = str(answer.body.get("metadata", {}).get("continue") or "")
        if not token:
            break
        query["continue"] = token
    return found, ""


async def _check(api: KubeHttp, kind: str, found: dict[str, Any], limit: asyncio.Semaphore) -> tuple[bool, str]:
    """Return whether the CRDs refuse an object, and why, or why this is not known."""
    metadata = found["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    # The spec alone: the server sets the rest, and a status is not written with it.
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": _KINDS[kind],
        "metadata": {"name": name, "namespace": namespace},
        "spec": found.get("spec") or {},
    }
    async with limit:
        answer = await api.post(body, "apis", GROUP, VERSION, "namespaces", namespace, kind, dryRun="All")
    # The values are checked before the name, which is taken.
    if answer.is_ok or answer.status == HTTPStatus.CONFLICT:
        return False, ""
    problem = answer.problem
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        _, _, reason = problem.partition(" is invalid: ")
        return True, f"{kind} {namespace}/{name}: {(reason or problem)[:_REASON]}"
    return False, f"{kind}: {problem[:_REASON]}"
