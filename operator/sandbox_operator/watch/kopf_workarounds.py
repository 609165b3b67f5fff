"""Kopf's own lists, made to match nothing: they only say from which moment on its watches tell what happens.

Kopf hands each object that it lists to a handler by a task of its own. For thousands of sessions and pods, which the
operator lists by itself anyway (lists.py), that held up everything else for seconds. A session of HTTP that a program
brings along is kopf's own means (`kopf.AiohttpSession`); this is a middleware of such a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import aiohttp

    from sandbox_operator.kube.resources import Resource

_NOTHING: Final = "metadata.name=-"
"""A name that no object can have."""


class EmptyLists:
    """Changes lists of some kinds on their way out, and tells of each that was answered."""

    def __init__(
        self,
        kinds: Iterable[Resource],
        namespaces: Iterable[str | None],
        on_list: Callable[[Resource, str | None], None],
    ) -> None:
        self._places = {kind.path(namespace): (kind, namespace) for kind in kinds for namespace in namespaces}
        self._on_list = on_list

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """See aiohttp's client middlewares."""
        place = self._find(request)
        if place is None:
            return await handler(request)
        request.url = request.url.update_query(fieldSelector=_NOTHING)
        response = await handler(request)
        if response.ok:
            self._on_list(*place)
        return response

    def _find(self, request: aiohttp.ClientRequest) -> tuple[Resource, str | None] | None:
        if request.method != "GET" or "watch" in request.url.query:
            return None
        # The API server may be below a path of its own, behind a proxy.
        path = request.url.path
        return next((place for end, place in self._places.items() if path.endswith(end)), None)
