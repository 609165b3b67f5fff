"""Counts what the sessions and warm pools of each namespace use, and finds the room that limits leave.

A ResourceQuota counts objects and all pods of a namespace. It cannot tell running sessions from suspended ones, nor the
operator's pods from others. The counts follow the store, so they are right again after a restart.

A pod that is about to be created counts from the moment of the decision. Otherwise sessions that start at the same time
would all see the same room. A pod that is not signed, or not signed yet, counts too: it runs all the same.

Each event costs constant work: one pod that is gone wakes one session that waits, and one that then starts wakes the
next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.kube.resources import POOLS, SESSIONS
from sandbox_operator.settings import NamespaceLimits
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

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
        """Resources that pods and reservations use, by namespace."""
        self._reserved: dict[Key, Need] = {}
        self._waiting: defaultdict[str, dict[Key, datetime]] = defaultdict(dict)
        """When each key began to wait, those that are woken next first."""
        store.all_pod_listeners.append(self._update)

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
        self._forget(key)
        self._reserved[key] = need
        self._count(key[1], _amounts_of(need), 1)
        if key[0] == SESSIONS.plural:
            # A pod that has ended may have left room for several. The last one that is woken finds none.
            self._wake(key[1])

    def release(self, key: Key) -> None:
        """Forget a reservation, because the pod exists, or was refused. Then its room is another one's."""
        if self._forget(key):
            self._wake(key[1])

    def reset(self) -> None:
        """Forget reservations and the sessions that wait: this replica has stopped working, and others go on."""
        for key in list(self._reserved):
            self._forget(key)
        self._waiting.clear()

    def wait(self, key: Key, now: datetime) -> None:
        """Enqueue a key when there may be room for it. Those that have waited longest come first."""
        self._waiting[key[1]].setdefault(key, now)

    def waits_since(self, key: Key) -> datetime | None:
        """Return when a key began to wait, or None if it does not wait."""
        return self._waiting.get(key[1], {}).get(key)

    def stop_waiting(self, key: Key) -> None:
        """Forget that a key waits."""
        waiting = self._waiting.get(key[1], {})
        if waiting.pop(key, None) is not None and not waiting:
            del self._waiting[key[1]]

    def _use(self, key: Key, field: str) -> Decimal:
        own = self._reserved.get(key)
        used = self._used[key[1]][field] if key[1] in self._used else 0
        return Decimal(used) - Decimal(getattr(own, field) if own else 0)

    def _forget(self, key: Key) -> bool:
        need = self._reserved.pop(key, None)
        if need is not None:
            self._count(key[1], _amounts_of(need), -1)
        return need is not None

    def _count(self, namespace: str, amounts: Mapping[str, Decimal], sign: int) -> None:
        used = self._used[namespace]
        for field, amount in amounts.items():
            used[field] += sign * amount  # type: ignore[assignment]
        if not any(used.values()):
            del self._used[namespace]

    def _update(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        old, new = (raw if raw is not None and _is_counted(raw) else None for raw in (old, new))
        for raw, sign in ((old, -1), (new, 1)):
            if raw is not None:
                self._count(name_of(raw)[0], _measure(raw), sign)
        if old is not None and new is None:
            self._wake(name_of(old)[0])
        elif new is not None and not new["metadata"].get("deletionTimestamp"):
            # From now on it is counted itself. What a pool has reserved may be for more pods than this one.
            for reference in new["metadata"].get("ownerReferences") or []:
                self._forget((SESSIONS.plural, name_of(new)[0], reference["name"]))

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


def _is_counted(raw: Mapping[str, Any]) -> bool:
    """Return True if the operator created a pod, or it claims to belong to a session or a pool. Most others are forged.

    One of them may run: one that the operator could not sign, an earlier version's, or one whose image was changed.
    """
    owners = raw["metadata"].get("ownerReferences") or []
    return bool(raw["own"]) or any(each.get("kind") in {SESSIONS.kind, POOLS.kind} for each in owners)


def _measure(raw: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a pod of the operator adds: the limits of its containers, as a ResourceQuota counts them."""
    containers = (raw.get("spec") or {}).get("containers") or []
    return {
        "warm_pods" if naming.is_labelled_blank(raw) else "sessions": Decimal(1),
        "cpu": sum((_amount(each, "cpu") for each in containers), _NOTHING),
        "memory": sum((_amount(each, "memory") for each in containers), _NOTHING),
    }


def _amounts_of(need: Need) -> dict[str, Decimal]:
    return {field: Decimal(getattr(need, field)) for _, field, _ in _KINDS}


def _amount(container: Mapping[str, Any], kind: str) -> Decimal:
    value = ((container.get("resources") or {}).get("limits") or {}).get(kind)
    try:
        return parse_quantity(str(value)) if value else _NOTHING
    except ValueError:
        return _NOTHING
