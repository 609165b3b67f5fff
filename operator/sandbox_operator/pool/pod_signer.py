"""Signs the pods that the operator creates, and tries again if the API server did not take a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.errors import (
    ApiError,
    Blocked,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from sandbox_operator.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.origin import Origins
    from sandbox_operator.watch.store import Store

_MAX_PENDING: Final = 1000


class PodSigner:
    """Signs pods. It remembers the signatures that the API server has not taken yet.

    Such a pod is this process's own: the uid was in the answer to its creation. The signature is the one of that
    moment, so it is worthless if the pod's agent was changed since.
    """

    def __init__(self, api: KubeApi, store: Store, origins: Origins) -> None:
        self._api, self._store, self._origins = api, store, origins
        self._pending: dict[str, str] = {}

    def is_pending(self, uid: str) -> bool:
        """Return True if this process created the pod with this uid, and could not sign it yet."""
        return uid in self._pending

    async def sign(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Prove that the operator created a pod, and return the pod as stored. The proof contains the uid.

        Raises:
            Blocked: The API server refuses the signature.
        """
        metadata = pod["metadata"]
        uid, name = metadata["uid"], metadata["name"]
        signature = self._pending.setdefault(uid, self._origins.sign_pod(pod))
        if len(self._pending) > _MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        body = {"metadata": {"uid": uid, "annotations": {naming.ORIGIN: signature}}}
        try:
            answer = await self._api.patch(PODS, metadata["namespace"], name, body)
        except (NotFoundError, ConflictError):
            self._pending.pop(uid, None)
            raise
        except ApiError as error:
            # Its event may be late. Unsigned as it is, it counts against its namespace's limits from now on.
            self._store.put(PODS, pod)
            if isinstance(error, ForbiddenError | InvalidError):
                message = f"the API server refused the operator's signature of pod {name}: {error}"
                raise Blocked("PodRefused", message, retry_after=15) from error
            raise
        self._pending.pop(uid, None)
        self._store.put(PODS, answer)
        return answer
