"""An API server over HTTP in front of FakeKube: discovery, pages, watches, and troubles on demand."""

import asyncio
import contextlib
import json

from aiohttp import web

from sandbox_operator.errors import ApiError
from sandbox_operator.kube.resources import (
    EVENTS,
    LEASES,
    NETWORK_POLICIES,
    PODS,
    POOLS,
    SECRETS,
    SESSIONS,
    TEMPLATES,
    Resource,
)

# What kopf looks for before it watches anything.
DISCOVERED = (
    Resource("", "v1", "namespaces", "Namespace"),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"),
)
KINDS = (SESSIONS, TEMPLATES, POOLS, PODS, SECRETS, EVENTS, NETWORK_POLICIES, LEASES)
CONTENT = {"json-patch+json": "json", "merge-patch+json": "merge", "apply-patch+yaml": "apply"}
VERBS = ["get", "list", "watch", "create", "patch", "delete"]


class ApiServer:
    """Serves a FakeKube at 127.0.0.1.

    Attributes:
        on_request: Called with each request; its answer, if it gives one, is sent instead of the real one.
        requests: Method and path of each request that came.
        page: The most objects in a page of a list, if the client asks for no fewer.
        compacted: Watches from before this resourceVersion are answered with 410.
        is_deaf: Watches are told nothing, for good, of what happens while it is set.
    """

    def __init__(self, kube):
        self.kube, self.port = kube, 0
        self.on_request = lambda _: None
        self.requests: list[tuple[str, str]] = []
        self.page, self.compacted, self.is_deaf = 0, 0, False
        self._history: list[tuple[int, Resource, str, dict]] = []
        self._news = asyncio.Event()
        self._watches: set[asyncio.Task] = set()
        self._runner: web.AppRunner | None = None
        kube.watchers.append(self._remember)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self):
        """Begin to listen, on the same port each time."""
        application = web.Application(middlewares=[self._answer])
        for path, answer in _discovery().items():
            application.router.add_get(path, _serve(answer))
        for kind in KINDS:
            self._add_routes(application, kind)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        """Go away: connections end, new ones are refused."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self.drop_watches()
            await runner.cleanup()

    def drop_watches(self):
        """End the connections of all watches."""
        for task in list(self._watches):
            task.cancel()

    def compact(self):
        """Forget what happened until now: a watch that goes on from there gets 410."""
        self.compacted = self._history[-1][0] + 1 if self._history else 1
        self._history.clear()

    def watching(self):
        """How many watches there are."""
        return len(self._watches)

    @web.middleware
    async def _answer(self, request, handler):
        self.requests.append((request.method, request.path))
        if (answer := self.on_request(request)) is not None:
            return answer
        try:
            return await handler(request)
        except ApiError as error:
            return refusal(error.status, error.reason, str(error))

    def _add_routes(self, application, kind):
        def bind(call):
            async def answer(request):
                return await call(kind, request)

            return answer

        router = application.router
        router.add_get(kind.path(), bind(self._list))
        router.add_get(kind.path("{namespace}"), bind(self._list))
        router.add_post(kind.path("{namespace}"), bind(self._create))
        router.add_get(kind.path("{namespace}", "{name}"), bind(self._get))
        router.add_delete(kind.path("{namespace}", "{name}"), bind(self._delete))
        router.add_patch(kind.path("{namespace}", "{name}"), bind(self._patch))
        router.add_patch(kind.path("{namespace}", "{name}", "{subresource}"), bind(self._patch))

    async def _get(self, kind, request):
        return web.json_response(await self.kube.get(kind, request.match_info["namespace"], request.match_info["name"]))

    async def _create(self, kind, request):
        created = await self.kube.create(kind, request.match_info["namespace"], await request.json())
        return web.json_response(created, status=201)

    async def _patch(self, kind, request):
        where = request.match_info
        form = CONTENT[request.content_type.removeprefix("application/")]
        body, part = json.loads(await request.read()), where.get("subresource", "")
        return web.json_response(await self.kube.patch(kind, where["namespace"], where["name"], body, form, part))

    async def _delete(self, kind, request):
        options = await request.json()
        wanted, where = options.get("preconditions") or {}, request.match_info
        answer = await self.kube.delete(
            kind,
            where["namespace"],
            where["name"],
            wanted.get("uid", ""),
            options.get("gracePeriodSeconds"),
            wanted.get("resourceVersion", ""),
        )
        return web.json_response(answer)

    async def _list(self, kind, request):
        query, namespace = request.query, request.match_info.get("namespace")
        if query.get("watch") == "true":
            return await self._watch(kind, request)
        items, version = await self.kube.list(kind, namespace, query.get("labelSelector", ""))
        if name := query.get("fieldSelector", "").removeprefix("metadata.name="):
            items = [item for item in items if item["metadata"]["name"] == name]
        metadata, first = {"resourceVersion": version}, int(query.get("continue") or 0)
        size = min(filter(None, (self.page, int(query.get("limit") or 0))), default=len(items))
        if len(items) > first + size:
            metadata["continue"] = str(first + size)
        page = items[first : first + size]
        return web.json_response({"kind": f"{kind.kind}List", "metadata": metadata, "items": page})

    async def _watch(self, kind, request):
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        self._watches.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await self._stream(kind, request, response)
        finally:
            self._watches.discard(task)
        return response

    async def _stream(self, kind, request, response):
        seen = int(request.query.get("resourceVersion") or 0)
        wanted = dict(part.split("=") for part in request.query.get("labelSelector", "").split(",") if part)
        if seen < self.compacted:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            return
        while True:
            news = self._news
            for version, resource, type_, raw in list(self._history):
                if version <= seen:
                    continue
                seen = version
                if resource is kind and wanted.items() <= (raw["metadata"].get("labels") or {}).items():
                    await response.write(json.dumps({"type": type_, "object": raw}).encode() + b"\n")
            await news.wait()

    def _remember(self, resource, type_, raw):
        if self.is_deaf:
            return
        self._history.append((int(raw["metadata"]["resourceVersion"]), resource, type_, raw))
        self._news.set()
        self._news = asyncio.Event()


def refusal(status, reason, message, **headers):
    """A Status object as the answer."""
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return web.json_response(
        body, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def _serve(answer):
    async def serve(_):
        return web.json_response(answer)

    return serve


def _discovery():
    """What a client asks first: which groups, versions and kinds there are."""
    groups = {}
    for kind in KINDS + DISCOVERED:
        groups.setdefault((kind.group, kind.version), []).append(kind)
    answers = {"/api": {"versions": ["v1"]}, "/version": {"major": "1", "minor": "36"}}
    listed = []
    for (group, version), kinds in groups.items():
        resources = [
            {"name": kind.plural, "singularName": "", "kind": kind.kind, "namespaced": kind in KINDS, "verbs": VERBS}
            for kind in kinds
        ]
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        answers[root] = {"resources": resources}
        if group:
            named = {"groupVersion": f"{group}/{version}", "version": version}
            listed.append({"name": group, "versions": [named], "preferredVersion": named})
    answers["/apis"] = {"groups": listed}
    return answers
