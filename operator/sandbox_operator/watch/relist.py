"""What watches do not tell: what was there before them, and what they have missed.

A kind is listed whenever its watch begins, or begins anew, and everything once in a while; page by page, so that others
get their turn. The watch is there first: what happens meanwhile comes by it, and the store keeps the newer of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.errors import ApiError, ExpiredError
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS
from sandbox_operator.watch.store import WATCHED, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sandbox_operator.kube.client import KubeClient
    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.watch.store import Store

_LOG: Final = logging.getLogger(__name__)
_RETRY: Final = 1.0
_MAX_AGE: Final = 5
"""Lists that may be missed before it counts as a problem."""
_LISTED_A_SECOND: Final = 100
"""Objects; of more than 6,000, lists are rarer than a minute."""


class Lists:
    """Keeps the store as complete as lists can make it.

    Attributes:
        synced: Everything was listed, each kind since its watch began.
    """

    def __init__(
        self,
        api: KubeClient,
        store: Store,
        namespaces: tuple[str | None, ...],
        pod_selector: str,
        shortest_pause: float,
        take_up: Callable[[Resource, Mapping[str, Any]], None],
    ) -> None:
        self._api, self._store, self._namespaces, self._pod_selector = api, store, namespaces, pod_selector
        self._shortest_pause, self._take_up = shortest_pause, take_up
        self._watched: set[tuple[Resource, str | None]] = set()
        self._wanted: set[Resource] = set()
        self._listed_at: dict[Resource, float] = {}
        self._wake, self.synced = asyncio.Event(), asyncio.Event()

    def watch_begins(self, kind: Resource, namespace: str | None) -> None:
        """A watch tells what happens from now on: what is there has to be listed."""
        self._watched.add((kind, namespace))
        if self._is_watched(kind):
            self._wanted.add(kind)
            self._wake.set()

    async def run(self) -> None:
        """List what is wanted, until cancelled."""
        while True:
            self._wake.clear()
            for kind in self._choose():
                await self._try(kind)
            if len(self._listed_at) == len(WATCHED) and not self.synced.is_set():
                self.synced.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY if self._wanted else self._pause()):
                    await self._wake.wait()
            if self.synced.is_set() and self._age() >= self._pause():
                self._wanted.update(WATCHED)

    def find_problem(self) -> str:
        """Why what the store has is not to be relied on; empty: it is."""
        if not self.synced.is_set():
            return self._find_missing()
        if self._age() > self._pause() * _MAX_AGE:
            return "the API server was not listed for a long time"
        return ""

    def _find_missing(self) -> str:
        unwatched = [kind.plural for kind in WATCHED if not self._is_watched(kind)]
        if not unwatched:
            return "the first list is not done"
        return (
            f"no watch of {', '.join(unwatched)}: are the CustomResourceDefinitions there, and may it list and watch?"
        )

    def _is_watched(self, kind: Resource) -> bool:
        return all((kind, namespace) in self._watched for namespace in self._namespaces)

    def _choose(self) -> list[Resource]:
        """What to list now, owners before what they own: or a pod is made again for a session that is gone."""
        wanted = set(self._wanted)
        if not self.synced.is_set() and len(wanted) < len(WATCHED) - len(self._listed_at):
            # At the start, all together: the last watch may begin a moment after the first.
            return []
        if PODS in wanted:
            wanted |= {SESSIONS, POOLS}
        return [kind for kind in WATCHED if kind in wanted]

    def _age(self) -> float:
        return time.monotonic() - min(self._listed_at.values())

    def _pause(self) -> float:
        """Seconds to the next list: reading thousands of objects costs about a second of a processor."""
        return max(self._shortest_pause, sum(map(self._store.count, WATCHED)) / _LISTED_A_SECOND)

    async def _try(self, kind: Resource) -> None:
        # Not wanted any more from here on: a watch that begins anew meanwhile wants another list.
        self._wanted.discard(kind)
        try:
            await self._list(kind)
        except ApiError as error:
            _LOG.warning("list failed: %s", error)
            self._wanted.add(kind)
        else:
            self._listed_at[kind] = time.monotonic()

    async def _list(self, kind: Resource) -> None:
        labels = self._pod_selector if kind is PODS else ""
        for last in (False, True):
            listing = self._store.begin_listing(kind)
            try:
                for namespace in self._namespaces:
                    async for items, version in self._api.pages(kind, namespace, labels):
                        # Now and not behind the last page, which may fail.
                        self._tell(kind, listing.add(items, version))
            except ExpiredError:
                # What the next page was to go on from is gone: only the first one leads on.
                if last:
                    raise
                continue
            self._tell(kind, listing.finish())
            return

    def _tell(self, kind: Resource, missed: Iterable[Mapping[str, Any]]) -> None:
        # At the start everything is looked at anyway.
        if self.synced.is_set():
            for raw in missed:
                _LOG.debug("change of a %s was not seen", kind.kind, extra={"key": "/".join(name_of(raw))})
                self._take_up(kind, raw)
