"""Decides when a session is reconciled without an event. Pure.

Events report every change of an object. They do not report what only the agent knows, such as its last activity and
unsaved files. So each agent is asked from time to time, less often the more sessions there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api.values import parse_time
from sandbox_operator.pool.available_pods import is_ready
from sandbox_operator.session.status import endpoint_of, ready_since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Session

_MIN_INTERVAL: Final = 60.0
_MAX_INTERVAL: Final = 1800.0
_AGENTS_PER_SECOND: Final = 3.0
"""Average rate at which agents are asked. Each needs a connection and some milliseconds of CPU."""


def choose_interval(sessions: int) -> float:
    """Return the seconds between two reconciles of a session, given the number of sessions."""
    return min(_MAX_INTERVAL, max(_MIN_INTERVAL, sessions / _AGENTS_PER_SECOND))


def is_undisturbed(session: Session, pod: Mapping[str, Any] | None) -> bool:
    """Return True if nothing in the API server contradicts the session's status.

    An operator that has just started need not ask such a session's agent at once. Otherwise it would ask all of them.
    """
    status, metadata = session.status, session.metadata
    if pod is None or not is_ready(pod) or metadata.deletion_timestamp or session.spec.suspended:
        return False
    since = ready_since(status)
    agrees = (
        status.get("phase") == "Ready"
        and status.get("observedGeneration") == metadata.generation
        and status.get("podName") == pod["metadata"]["name"]
        and status.get("endpoint") == endpoint_of(str(pod["status"]["podIP"]))
    )
    started = [_running_since(each) for each in pod["status"].get("containerStatuses") or []]
    return bool(agrees and since and started and all(moment and moment <= since for moment in started))


def _running_since(container: Mapping[str, Any]) -> Any:
    return parse_time(((container.get("state") or {}).get("running") or {}).get("startedAt"))
