"""Kopf's settings, and the work-arounds that keep it fast and small with thousands of objects.

They were tested with kopf 1.45.2. We use kopf only to watch, with on.event handlers. Each work-around switches
off work that kopf does for its other handlers, and says what that work costs.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

import kopf

try:
    from kopf._core.reactor.inventory import ResourceMemories
except ImportError:
    ResourceMemories = None  # type: ignore[assignment,misc]

from sandbox_operator.watch.store import POD_SELECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import aiohttp

    from sandbox_operator.kube.resources import Resource

_LOG: Final = logging.getLogger(__name__)
_NO_OBJECT: Final = "metadata.name=-"
"""A field selector that matches nothing, because no object can have this name."""


class EmptyLists:
    """An aiohttp middleware that makes kopf's lists of some kinds return nothing, and reports each answered list.

    Before kopf watches a kind, it lists all objects and calls a handler for each one, in a task of its own. With
    thousands of objects that blocked everything else for seconds. It also does not report objects that were deleted
    while there was no watch. The operator therefore lists the objects itself (relist.py), and kopf uses its empty list
    only to learn from which resourceVersion to watch.

    This needs no private name of kopf, because a program may supply its own HTTP session (`kopf.AiohttpSession`).
    """

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
        """Send a request. A list of a watched kind is changed so that it matches nothing."""
        place = self._find(request)
        if place is None:
            return await handler(request)
        request.url = request.url.update_query(fieldSelector=_NO_OBJECT)
        response = await handler(request)
        if response.ok:
            self._on_list(*place)
        return response

    def _find(self, request: aiohttp.ClientRequest) -> tuple[Resource, str | None] | None:
        if request.method != "GET" or "watch" in request.url.query:
            return None
        # Behind a proxy, the API server's paths may have a prefix.
        path = request.url.path
        return next((place for end, place in self._places.items() if path.endswith(end)), None)


def memory_options() -> dict[str, Any]:
    """Return arguments for `kopf.spawn_tasks` with which kopf keeps nothing of an object between two of its events.

    Kopf remembers 1.5 KiB per object for handlers that we do not use, until the object is deleted. It also remembers to
    pause after its own failures in handling an object. We lose that pause, but our handlers only copy and cannot fail.

    The class is private to kopf. If a later version has changed it, this function logs a warning and returns nothing.
    Kopf then uses its own memories: the operator works, but needs more memory.
    """
    if (
        ResourceMemories is None
        or "ephemeral" not in inspect.signature(ResourceMemories.recall).parameters
        or "memories" not in inspect.signature(kopf.spawn_tasks).parameters
    ):
        _LOG.warning("this version of kopf will keep about 1.5 KiB per object: kopf_workarounds.py does not support it")
        return {}

    class ForgetfulMemories(ResourceMemories):
        async def recall(self, *arguments: Any, **options: Any) -> Any:
            return await super().recall(*arguments, **{**options, "ephemeral": True})

    return {"memories": ForgetfulMemories()}


class NoDiffs(kopf.DiffBaseStorage):
    """A storage of former states that stores nothing, so that kopf compares nothing.

    For each event kopf makes a deep copy of the object and compares it with the object's former state. Only handlers of
    changes need the result. This is kopf's own interface, so it needs no fallback.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return an empty state, whatever the object is."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Return None: there is no former state."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def build_kopf_settings() -> kopf.OperatorSettings:
    """Return settings with which kopf writes nothing, scans nothing, and reconnects quickly."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = 100
    settings.watching.label_selectors["v1/pods"] = POD_SELECTOR
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [0.1, 0.5, 1, 2, 5, 5, 5]
    settings.execution.default_backoff = 1
    # Kopf keeps an object's last event until the object's worker task ends. With the default of 5 s, the events of all
    # objects would be in memory at once after a start. A short timeout loses no event: a worker that is about to end
    # checks its queue again (https://github.com/nolar/kopf/pull/732).
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = NoDiffs()
    return settings
