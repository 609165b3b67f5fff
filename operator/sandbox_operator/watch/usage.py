"""Counts what the sessions and warm pools of each namespace use, and finds the room that limits leave.

A ResourceQuota counts objects and all pods of a namespace. It cannot tell running sessions from suspended ones, nor the
operator's pods from others. The counts follow the store, so they are right again after a restart.

A pod that is about to be created counts from the moment of the decision. Otherwise sessions that start at the same time
would all see the same room.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.kube.resources import SESSIONS
from sandbox_operator.settings import NamespaceLimits
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_operator.manifests.needs import Need
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_NO_LIMITS: Final = NamespaceLimits.model_validate({})
_NOTHING: Final = Decimal(0)
_PLENTY: Final = 1_000_000


class NamespaceUsage:
    """The use of each namespace, what is reserved in it, and the sessions that wait for room.

    Args:
        store: The pods. Those that are being deleted count until they are gone.
        limits: The limits by namespace. Those of `*` apply to namespaces that are not named.
        enqueue: Called with a waiting session's key when a pod of its namespace is gone.
    """

    def __init__(self, store: Store, limits: Mapping[str, NamespaceLimits], enqueue: Callable[[Key], None]) -> None:
        self._limits, self._enqueue = limits, enqueue
        self._used: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._reserved: dict[Key, Need] = {}
        self._waiting: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        store.pod_listeners.append(self._update)

    def find_room(self, key: Key, need: Need) -> tuple[int, str]:
        """Return how many times a need fits into what its namespace has left, and the limit that allows no more.

        What the same key has reserved before does not count against it.
        """
        limits, room, reason = self.limits_of(key[1]), _PLENTY, ""
        for name, field, unit in _KINDS:
            wanted, text = Decimal(getattr(need, field)), getattr(limits, field)
            if text is None or not wanted:
                continue
            limit = parse_quantity(str(text))
            left = int(max(_NOTHING, limit - self._use(key, field)) / wanted)
            if left < room:
                is_too_much = wanted > limit
                use = "are less than one more needs" if is_too_much else "leave no room"
                room, reason = left, f"namespaceLimits.{name}: the namespace's {text} {unit} {use}"
        return room, reason

    def limits_of(self, namespace: str) -> NamespaceLimits:
        """Return the limits of a namespace."""
        return self._limits.get(namespace) or self._limits.get("*") or _NO_LIMITS

    def reserve(self, key: Key, need: Need) -> None:
        """Count a start before its pod exists. The key no longer waits."""
        self.stop_waiting(key)
        self._reserved[key] = need

    def release(self, key: Key) -> None:
        """Forget a reservation, because the pod exists, or was refused. Then its room is another one's."""
        if self._reserved.pop(key, None) is not None:
            self._wake(key[1])

    def reset(self) -> None:
        """Forget reservations and the sessions that wait: this replica has stopped working, and others go on."""
        self._reserved.clear()
        self._waiting.clear()

    def wait(self, key: Key) -> None:
        """Enqueue a key when there may be room for it. Those that have waited longest come first."""
        self._waiting[key[1]].setdefault(key)

    def stop_waiting(self, key: Key) -> None:
        """Forget that a key waits."""
        waiting = self._waiting.get(key[1], {})
        if waiting.pop(key, 0) is None and not waiting:
            del self._waiting[key[1]]

    def _use(self, key: Key, field: str) -> Decimal:
        others = (need for other, need in self._reserved.items() if other[1] == key[1] and other != key)
        return sum((Decimal(getattr(need, field)) for need in others), Decimal(self._used[key[1]][field]))

    def _update(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        for raw, sign in ((old, -1), (new, 1)):
            if raw is not None:
                used = self._used[name_of(raw)[0]]
                for field, amount in _measure(raw).items():
                    used[field] += sign * amount  # type: ignore[assignment]
        if old is not None and new is None:
            namespace = name_of(old)[0]
            if not any(self._used[namespace].values()):
                del self._used[namespace]
            self._wake(namespace)
        elif new is not None and not new["metadata"].get("deletionTimestamp"):
            # From now on it is counted itself. What a pool has reserved may be for more pods than this one.
            for reference in new["metadata"].get("ownerReferences") or []:
                self._reserved.pop((SESSIONS.plural, name_of(new)[0], reference["name"]), None)

    def _wake(self, namespace: str) -> None:
        if key := next(iter(self._waiting.get(namespace, ())), None):
            # To the end of the line: if it needs more than there is, the next pod is another one's turn.
            self._waiting[namespace][key] = self._waiting[namespace].pop(key)
            self._enqueue(key)


_KINDS: Final = (
    ("sessions", "sessions", "running sessions"),
    ("warmPods", "warm_pods", "warm pods"),
    ("cpu", "cpu", "cores"),
    ("memory", "memory", "bytes of memory"),
)


def _measure(raw: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a pod of the operator adds: the limits of its containers, as a ResourceQuota counts them."""
    containers = (raw.get("spec") or {}).get("containers") or []
    return {
        "warm_pods" if naming.is_labelled_blank(raw) else "sessions": Decimal(1),
        "cpu": sum((_amount(each, "cpu") for each in containers), _NOTHING),
        "memory": sum((_amount(each, "memory") for each in containers), _NOTHING),
    }


def _amount(container: Mapping[str, Any], kind: str) -> Decimal:
    value = ((container.get("resources") or {}).get("limits") or {}).get(kind)
    try:
        return parse_quantity(str(value)) if value else _NOTHING
    except ValueError:
        return _NOTHING
