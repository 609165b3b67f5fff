"""Writes sessions to the API server as an earlier operator would have left them: Ready, each in a running pod."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from benchmarks.cluster.control_plane import TOKEN
from sandbox_operator.api import naming
from sandbox_operator.api.models import Session, Template, parse
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.api.values import format_time
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.pod import PodRequest, build_pod
from sandbox_operator.session.admission import default_resources
from sandbox_operator.settings import Images

_AT_ONCE = 20


async def create(server: str, template: dict[str, Any], count: int, already: int = 0) -> dict[str, str]:
    """Create the sessions with numbers from `already` up to `count`. Return each session's uid by its agent's name."""
    parsed = parse(Template, template)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    gate = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(
        server, headers=headers, connector=aiohttp.TCPConnector(ssl=False, limit=_AT_ONCE)
    ) as http:

        async def one(number: int) -> tuple[str, str]:
            async with gate:
                return await _create(http, parsed, number)

        return dict(await asyncio.gather(*(one(number) for number in range(already, count))))


async def _create(http: aiohttp.ClientSession, template: Template, number: int) -> tuple[str, str]:
    namespace = template.metadata.namespace
    body = {
        "apiVersion": SESSIONS.api_version,
        "kind": SESSIONS.kind,
        "metadata": {"name": f"idle-{number:05d}"},
        "spec": {},
    }
    raw = await _send(http, "POST", SESSIONS.path(namespace), body)
    session = parse(Session, raw)
    images = Images("agent:bench", "sandbox:bench")
    pod = build_pod(PodRequest(session, template, Egress.NONE, default_resources(template), images))
    # kwok does not manage this node. Otherwise it would start the pod again.
    pod["spec"]["nodeName"] = f"elsewhere-{number % 100:03d}"
    made = await _send(http, "POST", PODS.path(namespace), pod)
    name, address = made["metadata"]["name"], f"127.{80 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}"
    created = datetime.fromisoformat(made["metadata"]["creationTimestamp"])
    running = {"running": {"startedAt": format_time(created)}}
    containers = [
        {"name": each, "image": each, "imageID": "", "ready": True, "restartCount": 0, "state": running}
        for each in ("agent", "sandbox")
    ]
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": address, "conditions": ready, "containerStatuses": containers}
    await _send(http, "PATCH", PODS.path(namespace, name, "status"), {"status": status})
    session_status = _status(session, name, address, created)
    await _send(http, "PATCH", SESSIONS.path(namespace, session.metadata.name, "status"), {"status": session_status})
    return naming.server_name(name, namespace), session.metadata.uid


def _status(session: Session, pod: str, address: str, created: datetime) -> dict[str, Any]:
    since = format_time(created + timedelta(seconds=2))
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": "",
            "observedGeneration": 1,
            "lastTransitionTime": since,
        }
        for type_, reason in (
            ("Ready", "Ready"),
            ("Scheduled", "Scheduled"),
            ("Bound", "Bound"),
            ("WorkspaceRestored", "Restored"),
            ("WorkspaceSynced", "Synced"),
        )
    ]
    return {
        "observedGeneration": 1,
        "phase": "Ready",
        "conditions": conditions,
        "endpoint": f"{address}:{naming.GRPC_PORT}",
        "podName": pod,
        "accessSecretName": naming.access_secret_name(session.metadata.name),
        "startedAt": format_time(created),
        "expiresAt": format_time(created + timedelta(hours=8)),
        "lastActiveAt": format_time(datetime.now(UTC)),
        "startup": {"source": "Cold", "milliseconds": 1000},
    }


async def _send(http: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    async with http.request(method, path, json=body, headers={"Content-Type": kind}) as answer:
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
        result: dict[str, Any] = await answer.json()
        return result
