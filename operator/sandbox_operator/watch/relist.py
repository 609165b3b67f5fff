"""Lists each kind when its watch starts or restarts, and periodically, so that no object or deletion is missed.

Lists are read page by page, so that other tasks get their turn. The watch starts first and delivers changes meanwhile;
the store keeps the newer version.
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
"""Seconds after which a failed list is tried again."""
_MAX_MISSED: Final = 5
"""Number of periodic lists in a row that may fail before the operator counts as not ready."""
_OBJECTS_PER_SECOND: Final = 100
"""Average rate of listing. With more than 6,000 objects, the lists are more than a minute apart."""


class Relister:
    """Keeps the store complete by listing.

    Args:
        api: The client that lists.
        store: Receives the objects.
        namespaces: Namespaces to list; None stands for all.
        pod_selector: Label selector for pods.
        min_interval: Minimum number of seconds between two periodic lists.
        on_missed: Called for each object whose change or deletion no watch has reported.

    Attributes:
        synced: Set once every kind has been listed since its watch started.
    """

    def __init__(
        self,
        api: KubeClient,
        store: Store,
        namespaces: tuple[str | None, ...],
        pod_selector: str,
        min_interval: float,
        on_missed: Callable[[Resource, Mapping[str, Any]], None],
    ) -> None:
        self._api, self._store, self._namespaces, self._pod_selector = api, store, namespaces, pod_selector
        self._min_interval, self._on_missed = min_interval, on_missed
        self._watched: set[tuple[Resource, str | None]] = set()
        self._due: set[Resource] = set()
        self._listed_at: dict[Resource, float] = {}
        self._wake, self.synced = asyncio.Event(), asyncio.Event()

    def note_watch(self, kind: Resource, namespace: str | None) -> None:
        """Note that a watch is starting: objects that already exist have to be listed."""
        self._watched.add((kind, namespace))
        if self._is_watched(kind):
            self._due.add(kind)
            self._wake.set()

    async def run(self) -> None:
        """List whatever is due, until cancelled."""
        while True:
            self._wake.clear()
            for kind in self._choose():
                await self._try(kind)
            if len(self._listed_at) == len(WATCHED) and not self.synced.is_set():
                self.synced.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY if self._due else self._interval()):
                    await self._wake.wait()
            if self.synced.is_set() and self._age() >= self._interval():
                self._due.update(WATCHED)

    def find_problem(self) -> str:
        """Return why the store cannot be relied on, or "" if it can."""
        if not self.synced.is_set():
            return self._find_missing()
        if self._age() > self._interval() * _MAX_MISSED:
            return "the last complete list of the API server is too old"
        return ""

    def _find_missing(self) -> str:
        unwatched = [kind.plural for kind in WATCHED if not self._is_watched(kind)]
        if not unwatched:
            return "the first list is not finished"
        return (
            f"no watch of {', '.join(unwatched)}: check that the CustomResourceDefinitions are installed and that the "
            "operator may list and watch them"
        )

    def _is_watched(self, kind: Resource) -> bool:
        return all((kind, namespace) in self._watched for namespace in self._namespaces)

    def _choose(self) -> list[Resource]:
        """Return the kinds to list now, owners first. Otherwise a pod would be created again for a deleted session."""
        due = set(self._due)
        if not self.synced.is_set() and len(due) < len(WATCHED) - len(self._listed_at):
            # At start-up, wait for all watches and list all kinds together.
            return []
        if PODS in due:
            due |= {SESSIONS, POOLS}
        return [kind for kind in WATCHED if kind in due]

    def _age(self) -> float:
        return time.monotonic() - min(self._listed_at.values())

    def _interval(self) -> float:
        """Return the seconds between two periodic lists. Reading thousands of objects takes about a second of CPU."""
        return max(self._min_interval, sum(map(self._store.count, WATCHED)) / _OBJECTS_PER_SECOND)

    async def _try(self, kind: Resource) -> None:
        # Clear it before listing: a watch that restarts meanwhile requires another list.
        self._due.discard(kind)
        try:
            await self._list(kind)
        except ApiError as error:
            _LOG.warning("listing %s failed, will retry in %.0f s: %s", kind.plural, _RETRY, error)
            self._due.add(kind)
        else:
            self._listed_at[kind] = time.monotonic()

    async def _list(self, kind: Resource) -> None:
        labels = self._pod_selector if kind is PODS else ""
        for last in (False, True):
            listing = self._store.begin_listing(kind)
            try:
                for namespace in self._namespaces:
                    async for items, version in self._api.pages(kind, namespace, labels):
                        # Report each page before reading the next one, because that may fail.
                        self._report(kind, listing.add(items, version))
            except ExpiredError:
                # The continue token has expired, so begin again with the first page.
                if last:
                    raise
                continue
            self._report(kind, listing.finish())
            return

    def _report(self, kind: Resource, missed: Iterable[Mapping[str, Any]]) -> None:
        # Until then this replica cannot lead, and a new leader enqueues everything anyway.
        if self.synced.is_set():
            for raw in missed:
                _LOG.debug("a watch missed a change of a %s", kind.kind, extra={"key": "/".join(name_of(raw))})
                self._on_missed(kind, raw)
